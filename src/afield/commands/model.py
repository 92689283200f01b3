"""``afield train``, ``evaluate``, ``predict`` and ``export``: a model, from its training to its use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from afield.commands.options import DataOptions, TrainingOptions

if TYPE_CHECKING:
    from afield.deploy import Prediction
    from afield.records import Record


@dataclass(frozen=True)
class Train(TrainingOptions):
    """Train one recipe on every domain, and keep the model.

    Attributes:
        recipe: a name from `afield list recipes`, or a .toml, .yaml or .json file. The default is what
            `afield reproduce combined` comes to.
        seed: of split, initialization, order, augmentation and dropout.
    """

    recipe: str = "flattening"
    seed: int = 0

    def run(self) -> Record:
        """Train unless it is done; returns the record that is written to ``record.json``."""
        from afield.console import held, watching
        from afield.deploy import run_training
        from afield.recipes.recipe import resolve

        (recipe,) = resolve([self.recipe], self.set)
        out = self.folder("train")
        with held(out), watching() as callback:
            setup = self.load_setup(callback)
            fabric = self.make_fabric(setup.training.precision)
            callback.start(setup)
            return run_training(setup, recipe, seed=self.seed, out=out, fabric=fabric, callback=callback)


@dataclass(frozen=True)
class Evaluate(DataOptions):
    """Measure a trained model on labeled images from anywhere.

    Attributes:
        model: the folder that `afield train` wrote.
        tta: test-time augmentation, of which the figures are reported apart: mirror images, or also shifted by a pixel.
        json: print the result as JSON.
    """

    model: Annotated[Path, tyro.conf.Positional] = Path("runs/train-digits")
    tta: Literal["mirror", "mirror_translate"] | None = None
    json: bool = False

    def run(self) -> dict[str, Any]:
        """Accuracy and mAP by domain and over all, and the confusion matrix."""
        from afield.deploy import evaluate, load
        from afield.errors import InputError

        model = load(self.model)
        if self.image_size not in (None, model.image_size):
            raise InputError(f"--image-size {self.image_size}: this model takes images of {model.image_size} pixels")
        return evaluate(model, self.load_data(model.image_size), self.tta)


@dataclass(frozen=True)
class Predict:
    """Predict the classes of image files and of the images in folders.

    Attributes:
        model: the folder that `afield train` wrote.
        images: files and folders.
        json: print one JSON object a line, with the probability of every class.
        on_bad_image: stop at files that are no images, or pass over them.
    """

    model: Annotated[Path, tyro.conf.Positional]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    json: bool = False
    on_bad_image: Literal["error", "skip"] = "error"

    def run(self) -> list[Prediction]:
        """One prediction an image, in order."""
        from afield.deploy import load
        from afield.deploy.predict import predict_files

        return predict_files(load(self.model), self.images, self.on_bad_image)


@dataclass(frozen=True)
class Export:
    """Write a trained model as ONNX.

    Attributes:
        model: the folder that `afield train` wrote.
        out: the file.
    """

    model: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("model.onnx")

    def run(self) -> Path:
        """The path of the file."""
        from afield.deploy import export_onnx, load

        return export_onnx(load(self.model), Path(self.out))
