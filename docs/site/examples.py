"""An extension of griffe: the section ``Example:`` of a docstring is a section of examples."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """griffe knows this section by the name ``Examples:`` only."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
