"""``afield adapt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from afield.commands.place_options import PlaceOptions
from afield.errors import InputError

if TYPE_CHECKING:
    from afield.deploy.adapt import Adapted


@dataclass(frozen=True, kw_only=True)
class Adapt(PlaceOptions):
    """Adapt a trained model to a new place with images without labels, and optionally with a few labels.

    Attributes:
        out: Folder of the adapted model.
        method: Adaptations from `afield list adaptations`, joined by +, such as standardize+t3a. By default, the one
            that gained most when each training domain played the new place, or none.
        labels: Label file of the new place. The adapted model is fitted to its chosen images; its audit images measure
            the model before and after.
        tune: Part of the model that is fitted to the labels: the head; or the whole network, for a model that was
            trained without --freeze. The network is fine-tuned on labeled and training images (--data) together.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield adapt runs/site-model --unlabeled new-site/ --out runs/new-site-model",
        "afield adapt runs/site-model --unlabeled new-site/ --labels labels.csv --out runs/new-site-model",
    )

    out: Path
    method: str = "auto"
    labels: Path | None = None
    tune: Literal["head", "network"] = "head"

    def run(self) -> Adapted:
        """Adapt the model and write it. Returns the model with the reason for the method."""
        from afield.console import held, watching
        from afield.deploy import load
        from afield.deploy.adapt import adapt_model
        from afield.deploy.fine_tune import check_trained
        from afield.deploy.hub import model_folder
        from afield.deploy.label import labels_to_learn

        folder, labels = model_folder(self.model), self.labels
        model, tunes = load(folder), self.tune == "network"
        if tunes:
            check_trained(model)
            if labels is None:
                raise InputError("--tune network needs labels of the new place: give a label file with --labels")
        rows = [] if labels is None else labels_to_learn(model, Path(self.unlabeled), Path(labels))
        out = Path(self.out)
        with held(out), self.read() as (source, place), watching() as callback:
            data = self.load_images(model.image_size, callback.decode) if tunes and self.data is not None else None
            return adapt_model(
                folder, place, source, self.method, out, rows, tune=self.tune, data=data, callback=callback
            )
