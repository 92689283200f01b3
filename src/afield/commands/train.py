"""``afield train``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afield.commands.options import TrainingOptions
from afield.commands.tracking import TrackingOptions

if TYPE_CHECKING:
    from afield.records import Record


@dataclass(frozen=True)
class Train(TrainingOptions, TrackingOptions):
    """Train one recipe on all domains and save the model.

    Attributes:
        recipe: Recipe: a name from `afield list recipes`, or a .toml, .yaml or .json file. The default is the result of
            `afield reproduce combined`.
        seed: Seed of the split, the initialization, the order of images, the augmentation and dropout.
        metric: Metric on validation images that selects the epoch: a name from `afield list metrics`.
        comparison: Run folder of `afield compare` with this recipe and the same settings. Its predictions on left-out
            domains set the temperature of the model and the thresholds for review; by default, those of runs on frozen
            features, or else the validation images.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield train --data photos/ --recipe flattening --out runs/site-model",
        "afield train --data photos/ --backbone resnet8_ibn --epochs 60 --out runs/site-model",
    )

    recipe: str = "flattening"
    seed: int = 0
    metric: str = "accuracy"
    comparison: Path | None = None

    def run(self) -> Record:
        """Train the model if it is not finished. Returns the record that is written to ``record.json``."""
        from afield.console import held, watching
        from afield.data import parts_of
        from afield.deploy import run_training
        from afield.evaluation import METRICS
        from afield.recipes import resolve

        METRICS.entry(self.metric)
        self.check_tracking()
        (recipe,) = resolve([self.recipe], self.set)
        out = self.folder("train")
        with held(out), watching() as shown:
            callback = self.with_tracking(shown, out)
            setup = dataclasses.replace(self.load_setup(callback), metric=self.metric)
            fabric = self.make_fabric(setup.training.precision)
            tested = ", except the given test set" if parts_of(setup.data) == ("test",) else ""
            callback.start(setup, f"trains {recipe.name} on all images{tested}; validation images select the epoch")
            return run_training(
                setup,
                recipe,
                seed=self.seed,
                out=out,
                fabric=fabric,
                callback=callback,
                comparison=None if self.comparison is None else Path(self.comparison),
            )
