"""Augmentation by translators from a common class to rare classes, which also changes the labels (CycleGAN)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Generator, Tensor, nn

from afield.augment.base import RelabelingAugmentation, Visit, fresh
from afield.augment.networks.network_file import NetworkAugmentation
from afield.augment.networks.translator import Translator, TranslatorConfig
from afield.augment.params import UNTOUCHED, PerImage
from afield.errors import InputError, shortened
from afield.pixels import as_floats
from afield.validation import check_number

NO_TARGET = -1
"""The target of an image that is not translated."""
ROUNDING = 1e-6
"""What the sum of the probabilities may exceed 1 by."""


@dataclass(frozen=True)
class CycleGanConfig:
    """Settings of a `CycleGanAugmentor`.

    Attributes:
        class_names: names of all K classes, in the order of the class indices.
        reference: name of the class whose images are translated.
        probabilities: probability that an image of the reference becomes one of a target, by the name of the target.
        network: size of the translators.

    Raises:
        InputError: if a class is unknown, the reference is a target or there is no target, or if a probability or their
            sum is not in [0, 1].
    """

    class_names: tuple[str, ...] = ("0", "1")
    reference: str = "0"
    probabilities: Mapping[str, float] = field(default_factory=lambda: {"1": 0.5})
    network: TranslatorConfig = field(default_factory=TranslatorConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))  # a list, if the file is read
        others = set(self.class_names) - {self.reference}
        if self.reference not in self.class_names or not self.probabilities or not self.probabilities.keys() <= others:
            raise InputError(
                f"reference and targets must be different classes of {shortened(self.class_names)}, got "
                f"{self.reference!r} and {', '.join(map(repr, self.probabilities)) or 'no target'}"
            )
        for name, probability in self.probabilities.items():
            check_number(f"the probability of class {name}", probability, 0, 1)
        check_number("the sum of the probabilities", sum(self.probabilities.values()), 0, 1 + ROUNDING)


@dataclass(frozen=True)
class CycleGanParams(PerImage):
    """The class index ``target`` ``[B]`` of each image after its translation, -1 without one; and all class names."""

    target: Tensor
    class_names: tuple[str, ...]

    def __getitem__(self, rows: slice | Tensor) -> Self:
        return replace(self, target=self.target[rows])

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        target = int(self.target[index])
        return UNTOUCHED if target == NO_TARGET else f"translated to {self.class_names[target]}"


class CycleGanAugmentor(RelabelingAugmentation, NetworkAugmentation):
    """Learned augmentation that replaces images of a common class, the reference, by images of rare classes.

    A translated image gets the label of its new class, so that the rare classes have more images in training, and the
    reference has fewer. The images of the other classes do not change. `afield.augment.learned.learn_cyclegan` trains
    it. After training, it is used like any other augmentation, on data with the same classes.

    Args:
        config: see `CycleGanConfig`.

    Attributes:
        network: the trained translators in the order of the targets, an `nn.ModuleList`. It is moved to the device of
            the images.
        reference: class index of the reference.
        targets: class indices of the targets.

    Example:
        >>> import torch
        >>> from afield.augment import CycleGanAugmentor, CycleGanConfig
        >>> config = CycleGanConfig(("cat", "lynx"), reference="cat", probabilities={"lynx": 1.0})
        >>> images, labels = CycleGanAugmentor(config)(torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 0]))
        >>> labels
        tensor([1, 1, 1])

    References:
        Zhu, Liu, Qin, Li, "Emotion Classification with Data Augmentation Using Generative Adversarial Networks", PAKDD
        2018; Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks", ICCV 2017.
    """

    kind = "cyclegan"
    config_type = CycleGanConfig
    config: CycleGanConfig
    network: nn.ModuleList

    def __init__(self, config: CycleGanConfig | None = None) -> None:
        self.config = config or CycleGanConfig()
        self.reference = self.config.class_names.index(self.config.reference)
        self.targets = tuple(map(self.config.class_names.index, self.config.probabilities))
        self.network = nn.ModuleList(Translator(self.config.network) for _ in self.targets)

    def __call__(self, images: Tensor, targets: Tensor, *, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Translate a batch ``[B, 3, H, W]``, uint8 or float in [0, 1], with class indices ``[B]``.

        With a CPU `generator`, the result is reproducible. Without it, each call uses a new seed from the operating
        system.

        Returns:
            The new batch and the new class indices.
        """
        params = self.sample_for(targets, generator or fresh())
        return self.apply(images, params), self.relabel(targets, params)

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raise `InputError` if these are not the classes of the augmentation, in the same order."""
        if tuple(class_names) != self.config.class_names:
            raise InputError(
                f"the translation from {self.config.reference!r} was learned for the classes "
                f"{shortened(self.config.class_names)}; the classes of the data are {shortened(class_names)}"
            )

    def sample_for(self, targets: Tensor, generator: Generator) -> CycleGanParams:
        """Sample a new class for images with class indices ``[B]``."""
        ends = torch.tensor([*self.config.probabilities.values()], dtype=torch.float64).cumsum(0)
        drawn = torch.rand(len(targets), generator=generator, dtype=torch.float64)
        found = torch.tensor([*self.targets, NO_TARGET])[torch.searchsorted(ends, drawn, right=True)]
        return self._params(found.where(targets.cpu() == self.reference, NO_TARGET))

    def sample(self, images: Tensor, generator: Generator) -> CycleGanParams:
        """Parameters that change nothing, because the classes of the images are not known."""
        return self._params(torch.full((len(images),), NO_TARGET))

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> CycleGanParams:
        """Sample a new class for each image. Without labels, no image changes."""
        return self.sample(images, generator) if visit.targets is None else self.sample_for(visit.targets, generator)

    @torch.no_grad()
    def apply(self, images: Tensor, params: CycleGanParams) -> Tensor:
        """Translate the selected images; returns a new batch ``[B, 3, H, W]`` in which the others are unchanged."""
        found = images.clone()
        for index, translator in zip(self.targets, self.network.to(images.device), strict=True):
            rows = (params.target == index).nonzero().squeeze(1).to(images.device)
            translated = translator(as_floats(images[rows]).float())
            if not images.is_floating_point():
                translated = translated.mul_(255).round_()
            found.index_copy_(0, rows, translated.to(images.dtype))
        return found

    def relabel(self, targets: Tensor, params: CycleGanParams) -> Tensor:
        """See `RelabelingAugmentation`. What a translated image has of the reference, it has of its new class."""
        new = params.target.to(targets.device)
        if not targets.is_floating_point():
            return torch.where(new == NO_TARGET, targets, new)
        rows = (new != NO_TARGET).nonzero().squeeze(1)
        found = targets.clone()
        found[rows, self.reference] = 0
        found[rows, new[rows]] += targets[rows, self.reference]
        return found

    def _params(self, target: Tensor) -> CycleGanParams:
        return CycleGanParams(target, self.config.class_names)
