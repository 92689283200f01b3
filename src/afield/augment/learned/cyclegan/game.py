"""Adversarial training of translators between a reference class and other classes, and its measures (CycleGAN)."""

import copy
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from afield.augment import CycleGanAugmentor, CycleGanConfig
from afield.augment.learned.cyclegan.classes import choose_classes
from afield.augment.learned.cyclegan.pair import Pair
from afield.augment.learned.cyclegan.settings import CycleGanSettings
from afield.augment.learned.loop import AUGMENTORS, Examples, Game, Measures, recognition
from afield.errors import InputError
from afield.evaluation import diagnose_cyclegan
from afield.training import Subset

SMALLEST_SIDE = 8
"""Smallest height and width of images, in pixels: the discriminators normalize 2 x 2 values of each channel."""


@AUGMENTORS.register(
    "cyclegan",
    reference="Zhu et al., Emotion Classification with Data Augmentation Using Generative Adversarial Networks, 2018.",
)
class CycleGanGame(Game):
    """Translates images of a common class into rare classes, whose labels they get.

    Each target class has its own networks with one reference class; see `Pair`. So the number of networks grows with
    the number of targets, not with that of all pairs of classes, and all images that are replaced belong to a class
    that has many. A single generator that is told the target class would be another method (StarGAN).

    All networks have instance normalization, so that no statistics of a batch mix classes. Unlike in the paper of
    CycleGAN, the networks are small, a step uses several images, they are not cropped or flipped, and the learning rate
    is constant.

    Args:
        settings: see `CycleGanSettings`.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``. It is copied, for measurements only.
        config: classes and probabilities, see `choose_classes`.

    References:
        Zhu, Liu, Qin, Li, "Emotion Classification with Data Augmentation Using Generative Adversarial Networks", PAKDD
        2018; Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks", ICCV 2017.
    """

    settings_type = CycleGanSettings
    diagnose = staticmethod(diagnose_cyclegan)
    augmentor: CycleGanAugmentor
    settings: CycleGanSettings
    pairs: Sequence[Pair]

    def __init__(self, settings: CycleGanSettings, classifier: nn.Module, config: CycleGanConfig) -> None:
        super().__init__(settings, classifier)
        self.settings = replace(settings, reference=config.reference, targets=",".join(config.probabilities))
        self.augmentor = CycleGanAugmentor(config)
        pairs = nn.ModuleList(Pair(to_b, config.network, settings.pool) for to_b in self.augmentor.network)
        self.pairs = cast(Sequence[Pair], pairs)
        self.classifier = copy.deepcopy(classifier).eval().requires_grad_(False)
        translators = [parameter for pair in self.pairs for parameter in pair.translators]
        discriminators = [parameter for pair in self.pairs for parameter in pair.discriminators]
        self.optimizers = {
            name: torch.optim.Adam(parameters, settings.learning_rate, betas=(0.5, 0.999))
            for name, parameters in (("translators", translators), ("discriminators", discriminators))
        }

    @classmethod
    def check(cls, settings: CycleGanSettings, train: Subset, class_names: Sequence[str]) -> None:
        """Raise `InputError` if the images are too small, or as `choose_classes` does."""
        height, width = train.inputs.shape[1:3]
        if min(height, width) < SMALLEST_SIDE:
            raise InputError(f"a translation needs images of {SMALLEST_SIDE} px or more, got {height} x {width} px")
        choose_classes(settings, train, class_names)

    @classmethod
    def create(
        cls, settings: CycleGanSettings, classifier: nn.Module, train: Subset, class_names: Sequence[str]
    ) -> Self:
        """See `Game`: with the chosen classes."""
        return cls(settings, classifier, choose_classes(settings, train, class_names))

    def examples(self, train: Subset) -> Examples:
        """Images of the reference ``[B, 3, H, W]`` in [0, 1], and random images of each target ``[T, B, 3, H, W]``."""
        references = self.measured_images(train)
        members = [np.flatnonzero(train.labels[train.indices] == target) for target in self.augmentor.targets]

        def take(indices: NDArray[np.int64], generator: Generator) -> tuple[Tensor, Tensor]:
            drawn = [rows[torch.randint(len(rows), indices.shape, generator=generator).numpy()] for rows in members]
            return references.take(indices)[0], torch.stack([train.take(rows)[0] for rows in drawn])

        return Examples(len(references), take)

    def measured_images(self, part: Subset) -> Subset:
        """The images of the reference."""
        return replace(part, indices=part.indices[part.labels[part.indices] == self.augmentor.reference])

    @staticmethod
    def passes(settings: CycleGanSettings, steps: int) -> int:
        """See `Game`: enough for `CycleGanSettings.epoch_steps`."""
        return math.ceil(settings.epoch_steps / steps)

    def step(self, references: Tensor, others: Tensor, generator: Generator) -> None:
        """Update all translators, and then all discriminators.

        The images of the reference are ``[B, 3, H, W]`` in [0, 1], and those of the targets ``[T, B, 3, H, W]``.
        """
        weights = {"cycle_weight": self.settings.cycle_weight, "identity_weight": self.settings.identity_weight}
        pairs = list(zip(self.pairs, others, strict=True))
        found = [pair.translator_loss(references, images, **weights) for pair, images in pairs]
        self.move("translators", torch.stack([loss for loss, _ in found]).sum())
        losses = [
            pair.discriminator_loss(references, images, fakes, generator)
            for (pair, images), (_, fakes) in zip(pairs, found, strict=True)
        ]
        self.move("discriminators", torch.stack(losses).sum())

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> Measures:
        """Compute means over images of the reference and over the targets.

        Returns:
            ``distance``: the mean absolute difference between the pixels of a translation and its image, in [0, 1].
            ``cycle``: the same for an image that was translated forward and back. ``entropy_before`` and
            ``entropy_after``: the entropy of the classifier in bits. ``recognized_before``: the fraction of the images
            that it assigns to the reference. ``recognized_after``: the fraction of the translations that it assigns to
            their new class.
        """
        classifier, targets, sums, count = self.classifier, self.augmentor.targets, Counter[str](), 0
        for images, labels in batches:
            count += len(images)
            found = recognition(classifier, classifier, images, labels, "before")
            sums.update({name: float(value) for name, value in found.items()})
            for pair, target in zip(self.pairs, targets, strict=True):
                translated = pair.to_b(images)
                found = {
                    "distance": (translated - images).abs().mean(dim=(1, 2, 3)).sum(),
                    "cycle": (pair.to_a(translated) - images).abs().mean(dim=(1, 2, 3)).sum(),
                    **recognition(classifier, classifier, translated, torch.full_like(labels, target), "after"),
                }
                sums.update({name: float(value) / len(targets) for name, value in found.items()})
        return {name: value / count for name, value in sums.items()}
