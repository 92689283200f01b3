"""Adversarial training of the augmentor against classifier, teacher and discriminator, and its measures."""

import copy
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from afield.augment import AffineAugmentor, identity_distance, warp_affine
from afield.augment.learned.affine.settings import AffineSettings
from afield.augment.learned.discriminator import Discriminator, adversarial_loss, discriminator_loss
from afield.augment.learned.loop import AUGMENTORS, Examples, Game, Measures, recognition
from afield.evaluation import diagnose, forgotten
from afield.losses import max_entropy
from afield.training import Subset

TEACHER_DECAY = 0.99
MULTIPLIER_RATE = 0.5
LARGEST_MULTIPLIER = 1e3

DRAWS = 4
"""Number of samples for each image in measurements."""
NEAR_BOUND = 0.95
TOLERANCE = 0.05
"""Largest difference to the target of recognition when training stops."""


@AUGMENTORS.register("learned", reference="Learned augmentation, seen as active learning (paper B).")
class AffineGame(Game):
    """Selects an affine transformation per image that raises the entropy but stays recognizable.

    The networks are the affine augmentor, the classifier, its teacher and a discriminator; see
    `afield.augment.learned.loop.Game`.

    Args:
        settings: see `AffineSettings`.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``. It is copied if its training continues.
    """

    settings_type = AffineSettings
    diagnose = staticmethod(diagnose)
    augmentor: AffineAugmentor
    settings: AffineSettings
    multiplier: Tensor

    def __init__(self, settings: AffineSettings, classifier: nn.Module) -> None:
        super().__init__(settings, classifier)
        self.settings = settings
        self.augmentor = AffineAugmentor(settings.augmentor)
        self.network = self.augmentor.network
        self.discriminator = Discriminator() if settings.discriminator != "none" else None
        self.classifier = copy.deepcopy(classifier).train(settings.refresh).requires_grad_(settings.refresh)
        self.teacher = copy.deepcopy(classifier).eval().requires_grad_(False) if settings.refresh else self.classifier
        self.register_buffer("multiplier", torch.tensor(settings.recognition_weight or 1.0))
        self.optimizers = {"network": torch.optim.Adam(self.network.parameters(), settings.learning_rate)}
        if self.discriminator is not None:
            rate = settings.discriminator_rate
            self.optimizers["discriminator"] = torch.optim.SGD(self.discriminator.parameters(), rate)
        if settings.refresh:
            rate = settings.refresh_rate
            self.optimizers["classifier"] = torch.optim.SGD(self.classifier.parameters(), rate, momentum=0.9)

    def examples(self, train: Subset) -> Examples:
        """Images ``[B, 3, H, W]`` in [0, 1] with their labels ``[B]``."""
        return Examples(len(train), lambda indices, generator: train.take(indices))

    @staticmethod
    def passes(settings: AffineSettings, steps: int) -> int:
        """See `Game`: enough for `AffineSettings.epoch_steps`."""
        return math.ceil(settings.epoch_steps / steps)

    def finished(self, measures: Measures, steps: int) -> bool:
        """See `Game`: whether the target is met after `AffineSettings.stop_steps`."""
        settings = self.settings
        if settings.stop_steps is None or settings.recognized is None or steps < settings.stop_steps:
            return False
        kept = measures["recognized_after"] / measures["recognized_before"] if measures["recognized_before"] else 0.0
        return abs(kept - settings.recognized) <= TOLERANCE and not diagnose(measures, asdict(settings))

    @classmethod
    def collapses(cls, first: Measures, last: Measures, settings: AffineSettings) -> dict[str, str]:
        """See `Game`. A classifier that has forgotten the images explains the others."""
        return forgotten(first, last) or super().collapses(first, last, settings)

    def step(self, images: Tensor, targets: Tensor, generator: Generator) -> None:
        """Update all networks once, on a batch ``[B, 3, H, W]`` in [0, 1] with class indices ``[B]``."""
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
            self._adapt_multiplier(images, seen, targets)
        if settings.refresh:
            self.move("classifier", F.cross_entropy(logits.float(), targets))
            self._update_teacher()
        if self.discriminator is not None:
            self.move("discriminator", discriminator_loss(self.discriminator, images, warped.detach()))

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> dict[str, float]:
        """Compute means over all images, with four samples of each, for the current classifier and teacher.

        Returns:
            ``distance``: the distance of theta from the identity. ``image_spread``: the standard deviation of the
            entries of theta over images (of their means over samples). ``draw_spread``: the mean standard deviation of
            these entries over the samples of an image. ``at_bound``: the fraction of parameters beyond 95 % of their
            bound. ``entropy_before`` and ``entropy_after``: the entropy of the classifier in bits.
            ``recognized_before`` and ``recognized_after``: the accuracy of the teacher. With a discriminator, also
            ``discriminator_accuracy``, ``augmentor_loss`` and ``discriminator_loss``.
        """
        was_training = self.classifier.training
        self.classifier.eval()
        sums, count, thetas = Counter[str](), 0, []
        for images, targets in batches:
            count += len(images)
            found = recognition(self.classifier, self.teacher, images, targets, "before")
            drawn, draws = zip(*(self._measured_draw(images, targets, generator) for _ in range(DRAWS)), strict=True)
            found |= {name: sum(draw[name] / DRAWS for draw in draws) for name in draws[0]}
            sums.update({name: float(value) for name, value in found.items()})
            thetas.append(torch.stack(drawn))
        self.classifier.train(was_training)
        theta = torch.cat(thetas, dim=1).flatten(2)
        return {
            **{name: value / count for name, value in sums.items()},
            "image_spread": float(theta.mean(dim=0).std(dim=0).mean()),
            "draw_spread": float(theta.std(dim=0).mean()),
        }

    def _measured_draw(self, images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample a matrix ``[B, 2, 3]`` for each image, and sum its measures over the batch."""
        noise = self.augmentor.draw_noise(len(images), generator)
        choice = self.augmentor.choose(images, noise)
        theta = self.augmentor.theta(choice, noise)
        warped = warp_affine(images, theta, self.settings.augmentor.padding)
        numbers = choice.center + choice.width * noise[:, :6]
        sums = {
            "distance": identity_distance(theta).sum(),
            "at_bound": (numbers.abs() > NEAR_BOUND).float().mean(dim=1).sum(),
            **recognition(self.classifier, self.teacher, warped, targets, "after"),
        }
        if self.discriminator is not None:
            real, fake = self.discriminator(images), self.discriminator(warped)
            sums["discriminator_accuracy"] = ((real > 0).sum() + (fake <= 0).sum()) / 2
            sums["augmentor_loss"] = adversarial_loss(fake, self.settings.discriminator) * len(images)
            sums["discriminator_loss"] = discriminator_loss(self.discriminator, images, warped) * len(images)
        return theta, sums

    def _entropy_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        settings, target = self.settings, self.settings.target_entropy
        if target is not None:
            gap = max_entropy(logits.float(), targets, form="gap")
            return (gap - (1 - target) * math.log2(logits.shape[1])).square().mean()
        return max_entropy(logits.float(), targets, sign=settings.sign, form=settings.form).mean()

    @torch.no_grad()
    def _adapt_multiplier(self, images: Tensor, seen: Tensor, targets: Tensor) -> None:
        """Raise the weight of recognition if too few images are recognized; otherwise lower it."""
        assert self.settings.recognized is not None
        before = (self.teacher(images).argmax(dim=1) == targets).float().mean().clamp(min=1 / len(images))
        after = (seen.argmax(dim=1) == targets).float().mean()
        change = MULTIPLIER_RATE * (self.settings.recognized - after / before)
        self.multiplier.mul_(change.exp()).clamp_(1 / LARGEST_MULTIPLIER, LARGEST_MULTIPLIER)

    @torch.no_grad()
    def _update_teacher(self) -> None:
        """Update the teacher, the moving average of the classifier."""
        classifier_state = self.classifier.state_dict()
        for name, tensor in self.teacher.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(classifier_state[name], 1 - TEACHER_DECAY)
