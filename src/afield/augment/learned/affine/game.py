"""One step of the game between augmentor, classifier, teacher and discriminator."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from afield.augment import AffineAugmentor, warp_affine
from afield.augment.learned.affine.settings import AffineSettings
from afield.augment.learned.discriminator import Discriminator
from afield.augment.learned.loop import Game
from afield.losses import max_entropy

TEACHER_DECAY = 0.99
MULTIPLIER_RATE = 0.5
LARGEST_MULTIPLIER = 1e3


class AffineGame(Game):
    """The affine augmentor, the classifier, its teacher and a discriminator; see `afield.augment.learned.loop.Game`.

    Args:
        settings: see `AffineSettings`.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; copied where it goes on learning.
    """

    augmentor: AffineAugmentor
    settings: AffineSettings
    multiplier: Tensor

    def __init__(self, settings: AffineSettings, classifier: nn.Module) -> None:
        super().__init__()
        self.settings = settings
        self.augmentor = AffineAugmentor(settings.augmentor)
        self.network = self.augmentor.network
        self.discriminator = Discriminator() if settings.discriminator != "none" else None
        self.classifier = copy.deepcopy(classifier).train(settings.refresh).requires_grad_(settings.refresh)
        self.teacher = copy.deepcopy(classifier).eval().requires_grad_(False) if settings.refresh else self.classifier
        self.register_buffer("multiplier", torch.tensor(settings.recognition_weight or 1.0))
        optimizers: dict[str, torch.optim.Optimizer] = {
            "network": torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        }
        if self.discriminator is not None:
            rate = settings.discriminator_rate
            optimizers["discriminator"] = torch.optim.SGD(self.discriminator.parameters(), rate)
        if settings.refresh:
            optimizers["classifier"] = torch.optim.SGD(
                self.classifier.parameters(), settings.refresh_rate, momentum=0.9
            )
        self.optimizers = optimizers

    def step(self, images: Tensor, targets: Tensor, generator: Generator) -> None:
        """Everybody moves once, on a batch ``[B, 3, H, W]`` in [0, 1] with class indices ``[B]``."""
        settings, noise = self.settings, self.augmentor.draw_noise(len(images), generator)
        choice = self.augmentor.choose(images, noise)
        warped = warp_affine(images, self.augmentor.theta(choice, noise), settings.augmentor.padding)
        logits = self.classifier(warped)
        seen = self.teacher(warped) if settings.refresh else logits
        loss = settings.entropy_weight * self._entropy_loss(logits, targets)
        if settings.augmentor.draw == "distribution":
            loss = loss - settings.spread_weight * choice.width.log().sum(dim=1).mean()
        if settings.recognized is not None:
            loss = loss + self.multiplier * F.cross_entropy(seen.float(), targets)
        if self.discriminator is not None:
            loss = loss + adversarial_loss(self.discriminator(warped), settings.discriminator)
        self.move("network", loss, retain_graph=settings.refresh)
        if settings.recognized is not None and settings.recognition_weight is None:
            self._adapt(images, seen, targets)
        if settings.refresh:
            self.move("classifier", F.cross_entropy(logits.float(), targets))
            self._follow()
        if self.discriminator is not None:
            self.move("discriminator", discriminator_loss(self.discriminator, images, warped.detach()))

    def _entropy_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        settings, target = self.settings, self.settings.target_entropy
        if target is not None:
            gap = max_entropy(logits.float(), targets, form="gap")
            return (gap - (1 - target) * math.log2(logits.shape[1])).square().mean()
        return max_entropy(logits.float(), targets, sign=settings.sign, form=settings.form).mean()

    @torch.no_grad()
    def _adapt(self, images: Tensor, seen: Tensor, targets: Tensor) -> None:
        """Raise the weight of recognition where too few are recognized, lower it where enough are."""
        assert self.settings.recognized is not None
        before = (self.teacher(images).argmax(dim=1) == targets).float().mean().clamp(min=1 / len(images))
        after = (seen.argmax(dim=1) == targets).float().mean()
        change = MULTIPLIER_RATE * (self.settings.recognized - after / before)
        self.multiplier.mul_(change.exp()).clamp_(1 / LARGEST_MULTIPLIER, LARGEST_MULTIPLIER)

    @torch.no_grad()
    def _follow(self) -> None:
        """The teacher moves a little towards the classifier."""
        theirs = self.classifier.state_dict()
        for name, tensor in self.teacher.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(theirs[name], 1 - TEACHER_DECAY)


def adversarial_loss(fake: Tensor, form: str) -> Tensor:
    """What the augmentor minimizes against a discriminator's logits ``[B]`` of its images, a scalar.

    ``saturating``: the mean of ``log(1 - D)``, as the paper prints it; ``non_saturating``: of ``-log D``.
    """
    return -F.softplus(fake).mean() if form == "saturating" else F.softplus(-fake).mean()


def discriminator_loss(discriminator: nn.Module, images: Tensor, warped: Tensor) -> Tensor:
    """What the discriminator minimizes, ``-log D(I) - log(1 - D(G(I)))``, a scalar."""
    return F.softplus(-discriminator(images)).mean() + F.softplus(discriminator(warped)).mean()
