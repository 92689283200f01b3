"""``afield train``, ``evaluate``, ``predict``, ``export`` and ``card``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from afield.commands.options import DataOptions, TrainingOptions
from afield.errors import InputError

if TYPE_CHECKING:
    from afield.deploy import Prediction
    from afield.records import Record


@dataclass(frozen=True)
class Train(TrainingOptions):
    """Train one recipe on all domains and save the model.

    Attributes:
        recipe: Recipe: a name from `afield list recipes`, or a .toml, .yaml or .json file. The default is the result of
            `afield reproduce combined`.
        seed: Seed of the split, the initialization, the order of images, the augmentation and dropout.
        metric: Metric on validation images that selects the epoch: a name from `afield list metrics`.
    """

    recipe: str = "flattening"
    seed: int = 0
    metric: str = "accuracy"

    def run(self) -> Record:
        """Train the model if it is not finished. Returns the record that is written to ``record.json``."""
        from afield.console import held, watching
        from afield.deploy import run_training
        from afield.evaluation import METRICS
        from afield.recipes import resolve

        METRICS.entry(self.metric)
        (recipe,) = resolve([self.recipe], self.set)
        out = self.folder("train")
        with held(out), watching() as callback:
            setup = dataclasses.replace(self.load_setup(callback), metric=self.metric)
            fabric = self.make_fabric(setup.training.precision)
            callback.start(setup)
            return run_training(setup, recipe, seed=self.seed, out=out, fabric=fabric, callback=callback)


@dataclass(frozen=True)
class Evaluate(DataOptions):
    """Evaluate a trained model on labeled images.

    Attributes:
        model: Model folder, written by `afield train`.
        tta: Test-time augmentation with mirror images, or with mirrored and shifted images (by a pixel). Its results
            are reported in separate columns.
        metric: Metric to show first: a name from `afield list metrics`.
        labels: Label file of a new place; --data is the folder of the images. The model is evaluated on the audit
            sample, with intervals.
        json: Print the result as JSON.
    """

    model: Annotated[Path, tyro.conf.Positional] = Path("runs/train-digits")
    tta: Literal["mirror", "mirror_translate"] | None = None
    metric: str = "accuracy"
    labels: Path | None = None
    json: bool = False

    def run(self) -> dict[str, Any]:
        """Compute all metrics for each domain and for all images, with intervals, and the results of each class.

        With a label file: accuracy, balanced accuracy and recall of each class, with intervals.
        """
        from afield.deploy import evaluate, load
        from afield.deploy.label import measure
        from afield.evaluation import METRICS
        from afield.labeling.label_file import read_labels

        METRICS.entry(self.metric)
        model = load(self.model)
        if self.labels is not None:
            return measure(model, Path(self.data), read_labels(Path(self.labels), model.class_names))
        if self.image_size not in (None, model.image_size):
            raise InputError(f"--image-size {self.image_size}: this model needs images of {model.image_size} pixels")
        return evaluate(model, self.load_data(model.image_size, min_classes=1), self.tta, metric=self.metric)


@dataclass(frozen=True)
class Predict:
    """Predict the classes of image files and of all images in folders.

    Attributes:
        model: Model folder, written by `afield train`.
        images: Image files and folders.
        json: Print one JSON object per line, with the probabilities of all classes.
        on_bad_image: What to do with files that are not images: stop, or skip them.
    """

    model: Annotated[Path, tyro.conf.Positional]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    json: bool = False
    on_bad_image: Literal["error", "skip"] = "error"

    def run(self) -> list[Prediction]:
        """Return one prediction per image, in order."""
        from afield.deploy import load
        from afield.deploy.predict import predict_files

        return predict_files(load(self.model), self.images, self.on_bad_image)


@dataclass(frozen=True)
class Export:
    """Write a trained model as an ONNX file, and a script that predicts with it without afield.

    The file maps images of any size to probabilities. It is checked on photographs before it is written.

    Attributes:
        model: Model folder, written by `afield train`.
        out: File to write. The script, predict.py, is written to the same folder.
        preprocess: Include the resizing of images. Otherwise, the file takes images of the model's size with values
            between 0 and 1, and no script is written.
        images: Image files and folders for the check; by default, photographs that scikit-learn contains.
    """

    model: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("model.onnx")
    preprocess: bool = True
    images: tuple[Path, ...] = ()

    def run(self) -> Path:
        """Write the file and return its path."""
        from afield.deploy import export_onnx, load
        from afield.deploy.predict import image_paths

        images = [file for path in self.images for file in image_paths(Path(path))]
        return export_onnx(load(self.model), Path(self.out), preprocess=self.preprocess, images=images)


@dataclass(frozen=True)
class Card:
    """Write a model card, README.md, to a model folder.

    It states intended use, data, results, limits and training, with the figures of the records.

    Attributes:
        model: Model folder, written by `afield train`.
        comparison: Run folder of `afield compare` with the same recipe and data, for the results on unseen domains.
        license: Identifier of the license of the model, such as apache-2.0; left out by default.
    """

    model: Annotated[Path, tyro.conf.Positional]
    comparison: Path | None = None
    license: str | None = None

    def run(self) -> Path:
        """Write the card and return its path."""
        from afield.deploy.card import write_card

        comparison = None if self.comparison is None else Path(self.comparison)
        return write_card(Path(self.model), comparison=comparison, license=self.license)
