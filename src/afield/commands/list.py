"""``afield list``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import tyro

from afield.registry import Entry


@dataclass(frozen=True)
class List:
    """List recipes, losses, augmentations and other parts, with a summary and a reference.

    Attributes:
        kind: Kind of part to list, such as recipes, losses or backbones; all kinds by default.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield list recipes", "afield list")

    kind: Annotated[str, tyro.conf.Positional] = "all"

    def run(self) -> dict[str, list[Entry[Any]]]:
        """The entries of each kind, also those of installed packages."""
        from afield.catalog import chosen

        return {kind: registry.complete() for kind, registry in chosen(self.kind).items()}
