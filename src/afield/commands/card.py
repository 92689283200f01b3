"""``afield card``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro


@dataclass(frozen=True)
class Card:
    """Write a model card, README.md, to a model folder.

    It states intended use, data, results, limits and training, with the figures of the records.

    Attributes:
        model: Model folder, written by `afield train`.
        comparison: Run folder of `afield compare` with the same recipe and data, for the results on unseen domains.
        license: Identifier of the license of the model, such as apache-2.0; left out by default.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield card runs/site-model --comparison runs/compare-photos",)

    model: Annotated[Path, tyro.conf.Positional]
    comparison: Path | None = None
    license: str | None = None

    def run(self) -> Path:
        """Write the card and return its path."""
        from afield.deploy.card import write_card

        comparison = None if self.comparison is None else Path(self.comparison)
        return write_card(Path(self.model), comparison=comparison, license=self.license)
