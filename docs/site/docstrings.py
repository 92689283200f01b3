"""An extension of griffe, which reads the source for the Python reference."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Adapts griffe to the style of this package."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section ``Example:``, which griffe knows by the name ``Examples:`` only."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_alias(self, *, alias: griffe.Alias, **kwargs: Any) -> None:
        """What a package imports from its own modules is public: an ``__init__`` only re-exports."""
        package = alias.parent
        if package is not None and package.is_init_module and alias.target_path.startswith(f"{package.path}."):
            alias.public = not alias.name.startswith("_")
