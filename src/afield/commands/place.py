"""``afield adapt`` and ``afield forecast``: use a trained model in a new place, with few labels or without labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from afield.commands.options import SourceOptions

if TYPE_CHECKING:
    from afield.deploy.adapt import Adapted
    from afield.deploy.forecast import Expected
    from afield.deploy.place import Place
    from afield.deploy.source import Source


@dataclass(frozen=True, kw_only=True)
class PlaceOptions(SourceOptions):
    """A model, a new place, and the training data of the model.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        unlabeled: Folder of images of the new place, without labels.
        data: Training data, as given to `afield train`; needed only if the model folder lacks statistics of it, and for
            `afield adapt --tune network`.
    """

    model: Annotated[Path, tyro.conf.Positional]
    unlabeled: Path
    data: str | None = None

    @contextmanager
    def read(self) -> Iterator[tuple[Source, Place]]:
        """The statistics of the training data, and the images of the new place."""
        from afield.console import watching
        from afield.deploy import load
        from afield.deploy.adapt import check_not_adapted
        from afield.deploy.hub import model_folder
        from afield.deploy.place import read_place
        from afield.deploy.source import Source, learn_source
        from afield.errors import InputError
        from afield.launch.fabric import make_fabric

        folder = model_folder(self.model)
        model = load(folder)
        check_not_adapted(folder)
        source = Source.load(folder, model)
        with watching() as callback:
            place = read_place(model, Path(self.unlabeled), self.on_bad_image, callback.features)
            if self.data is not None and (source is None or not source.plays):
                source = learn_source(
                    folder, self.load_images(model.image_size, callback.decode), make_fabric("cpu", "32"), callback
                )
            if source is None:
                raise InputError(f"{folder} has no statistics of its training data; give the data with --data")
            yield source, place


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
        from afield.errors import InputError

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


@dataclass(frozen=True, kw_only=True)
class Forecast(PlaceOptions):
    """Forecast the accuracy of a trained model in a new place from images without labels.

    Attributes:
        out: Folder for a page with the forecast and the most unusual images; by default, no page is written.
        json: Print the result as JSON.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield forecast runs/site-model --unlabeled new-site/ --out forecast/",)

    out: Path | None = None
    json: bool = False

    def run(self) -> Expected:
        """Forecast the accuracy with its interval, and find unusual images."""
        from afield.deploy import load
        from afield.deploy.forecast import forecast_place
        from afield.deploy.forecast_page import forecast_page

        model = load(self.model)
        with self.read() as (source, place):
            expected = forecast_place(model, place, source)
        if self.out is not None:
            forecast_page(expected, model).write(Path(self.out))
        return expected
