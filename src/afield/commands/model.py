"""``afield train``, ``evaluate``, ``predict``, ``export`` and ``card``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from afield.commands.options import ImageOptions, TrainingOptions
from afield.commands.tracking import TrackingOptions
from afield.errors import InputError
from afield.validation import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.deploy import Model, Prediction
    from afield.deploy.export import Exported
    from afield.deploy.prediction_file import Written
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


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Which predictions are left to the model, and which images a person looks at.

    Attributes:
        target_accuracy: Accuracy that predictions without review must reach. The threshold is the smallest probability
            at which this holds on each domain that was left out of training.
        threshold: Probability below which a person looks at an image; by default, set by --target-accuracy.
    """

    target_accuracy: float = 0.95
    threshold: float | None = None

    def check(self) -> None:
        """Raise `InputError` if a value is not between 0 and 1."""
        check_number("--target-accuracy", self.target_accuracy, 0, 1)
        if self.threshold is not None:
            check_number("--threshold", self.threshold, 0, 1)

    def threshold_of(self, model: Model) -> float | None:
        """The threshold for a model; None if its confidence was not measured and no threshold is given."""
        return model.confidence.threshold(self.target_accuracy) if self.threshold is None else self.threshold


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How the model computes.

    Attributes:
        precision: Numeric precision of the network: 32 bits, or bf16, which is faster on processors that compute in it.
    """

    precision: Literal["32", "bf16"] = "32"


@dataclass(frozen=True)
class Evaluate(InferenceOptions, ReviewOptions, ImageOptions):
    """Evaluate a trained model on labeled images.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        tta: Test-time augmentation with mirror images, or with mirrored and shifted images (by a pixel). Its results
            are reported in separate columns.
        metric: Metric to show first: a name from `afield list metrics`.
        labels: Label file of a new place; --data is the folder of the images. The model is evaluated on the audit
            sample, with intervals.
        json: Print the result as JSON.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield evaluate runs/site-model --data new-site/",
        "afield evaluate runs/site-model --data new-site/ --target-accuracy 0.98",
    )

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
        self.check()
        model = load(self.model, precision=self.precision)
        if self.labels is not None:
            return measure(model, Path(self.data), read_labels(Path(self.labels), model.class_names))
        if self.image_size not in (None, model.image_size):
            raise InputError(f"--image-size {self.image_size}: this model needs images of {model.image_size} pixels")
        data = self.load_data(model.image_size, min_classes=1)
        return evaluate(model, data, self.tta, metric=self.metric, threshold=self.threshold_of(model))


@dataclass(frozen=True)
class Predict(InferenceOptions, ReviewOptions):
    """Predict the classes of image files and of all images in folders.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        images: Image files and folders.
        out: File of predictions, whose name ends with .csv, .jsonl or .parquet. It is written while images are
            predicted, and the same command continues it. Without it, predictions are printed.
        top_k: Number of classes in each row of --out, with their probabilities.
        embeddings: Add the features of each image to its row of --out.
        json: Print one JSON object per line, with the probabilities of all classes.
        on_bad_image: What to do with files that are not images: stop, or skip them.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield predict runs/site-model a.jpg some-folder/",
        "afield predict runs/site-model some-folder/ --out predictions.csv --target-accuracy 0.95",
    )

    model: Annotated[Path, tyro.conf.Positional]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    out: Path | None = None
    top_k: int = 1
    embeddings: bool = False
    json: bool = False
    on_bad_image: Literal["error", "skip"] = "error"

    def run(self) -> list[Prediction] | Written:
        """Return one prediction per image, in order; with a file, what was written to it."""
        from afield.deploy import load
        from afield.deploy.predict import image_paths, predict_files
        from afield.deploy.prediction_formats import check_file

        images = [Path(path) for path in self.images]
        if not images:
            raise InputError("no images to predict; give image files or folders: afield predict MODEL IMAGES")
        check_number("--top-k", self.top_k, 1, 1000, whole=True)
        self.check()
        if self.out is None:
            given = {"--top-k": self.top_k > 1, "--embeddings": self.embeddings, "--threshold": self.threshold}
            if only := [name for name, value in given.items() if value]:
                raise InputError(f"{only[0]} needs --out FILE")
            return predict_files(load(self.model, precision=self.precision), images, self.on_bad_image)
        check_file(Path(self.out))
        return self._write(load(self.model, precision=self.precision), image_paths(*images), Path(self.out))

    def _write(self, model: Model, files: Sequence[Path], out: Path) -> Written:
        from afield.console import watching
        from afield.deploy.hub import model_folder
        from afield.deploy.prediction_columns import Columns
        from afield.deploy.prediction_file import write_predictions
        from afield.deploy.source import Source

        check_number("--top-k", self.top_k, 1, len(model.class_names), whole=True)
        source = Source.load(model_folder(self.model), model)
        statistics = None if source is None else source.statistics
        columns = Columns(self.threshold_of(model), statistics, self.top_k, self.embeddings)
        with watching() as callback:
            return write_predictions(model, files, out, columns, self.on_bad_image, callback.predict)


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


@dataclass(frozen=True)
class Export(ReviewOptions):
    """Write a trained model as a file that is used without afield: ONNX, or a program of torch.export.

    The file maps images of any size to probabilities. It is checked on photographs before it is written. Beside an ONNX
    file, predict.py is written, which predicts with ONNX Runtime, Pillow and NumPy alone.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        out: File to write, whose name ends with .onnx or .pt2. The script is written to the same folder.
        preprocess: Include the resizing of images. Otherwise, the file takes images of the model's size with values
            between 0 and 1, and no script is written.
        images: Image files and folders for the check; by default, photographs that scikit-learn contains.
        int8: Let the backbone of an ONNX file compute with 8-bit integers. Half of --images calibrate, half of them
            measure the difference to the model; also in accuracy, if each image is in a folder named by its class.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield export runs/site-model --out model.onnx",
        "afield export runs/site-model --out small.onnx --int8 --images photos/",
    )

    model: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("model.onnx")
    preprocess: bool = True
    images: tuple[Path, ...] = ()
    int8: bool = False

    def run(self) -> Exported:
        """Write the file. Returns its path and its comparison with the model."""
        from afield.deploy import export_model, load
        from afield.deploy.export import check_target
        from afield.deploy.predict import image_paths

        self.check()
        out = Path(self.out)
        check_target(out, preprocess=self.preprocess, int8=self.int8)
        model = load(self.model)
        return export_model(
            model,
            out,
            preprocess=self.preprocess,
            images=[file for path in self.images for file in image_paths(Path(path))],
            int8=self.int8,
            threshold=self.threshold_of(model),
        )


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


@dataclass(frozen=True)
class Push:
    """Upload a trained model to the Hugging Face hub.

    `afield` loads it as hf://OWNER/NAME, timm as hf-hub:OWNER/NAME. It has a model card: README.md of the folder, or
    one from the record. The token of `hf auth login` or HF_TOKEN is used.

    Attributes:
        model: Model folder, written by `afield train`.
        name: Repository as OWNER/NAME; it is created if it does not exist.
        public: Make a new repository public; by default, only its owner can see it.
        license: Identifier of the license of the model, such as apache-2.0, if the folder has no card yet.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield push runs/site-model my-team/site-model",
        "afield push runs/site-model my-team/site-model --public --license apache-2.0",
    )

    model: Annotated[Path, tyro.conf.Positional]
    name: Annotated[str, tyro.conf.Positional]
    public: bool = False
    license: str | None = None

    def run(self) -> str:
        """Upload the model and return the address of its page."""
        from afield.deploy.push import push

        return push(Path(self.model), self.name, public=self.public, license=self.license)
