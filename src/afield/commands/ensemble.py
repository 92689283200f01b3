"""``afield ensemble``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro


@dataclass(frozen=True)
class Ensemble:
    """Join trained models to one that predicts with the mean of their probabilities.

    The models need the same classes and image size; they can differ in recipe, backbone and seed. The folder is used
    like any other model; only `afield adapt`, `forecast` and `card` need a single one.

    Attributes:
        models: Model folders, written by `afield train`.
        out: Folder to write; the models are copied to it.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield ensemble runs/seed-0 runs/seed-1 runs/seed-2 --out runs/ensemble",)

    models: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path = Path("runs/ensemble")

    def run(self) -> Path:
        """Write the folder and return its path."""
        from afield.deploy.ensemble import write_ensemble

        return write_ensemble([Path(each) for each in self.models], Path(self.out))
