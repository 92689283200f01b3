"""Adversarial training of a generator of variants against a critic of pairs, and its measures (DAGAN).

For the critic, a real pair is an image and another image of its class; a fake pair is an image and its variant. An
image that is the only one of its class is not used.
"""

import copy
from collections import Counter
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from afield.augment import DaganAugmentor
from afield.augment.learned.dagan.critic import Critic, critic_gap, gradient_penalty
from afield.augment.learned.dagan.pairs import Pairs
from afield.augment.learned.dagan.settings import DaganSettings
from afield.augment.learned.loop import AUGMENTORS, Examples, Game, recognition
from afield.evaluation import diagnose_dagan
from afield.training import Subset

DRAWS = 4
"""Number of samples for each image in measurements."""


@AUGMENTORS.register("dagan", reference="Antoniou et al., Data Augmentation Generative Adversarial Networks, 2017.")
class DaganGame(Game):
    """Generates variants of images with a small network trained on pairs of images of a class.

    The networks are the generator, the critic, and a classifier that is not trained; see
    `afield.augment.learned.loop.Game`.

    Args:
        settings: see `DaganSettings`.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``. It is copied.
    """

    settings_type = DaganSettings
    diagnose = staticmethod(diagnose_dagan)
    augmentor: DaganAugmentor
    settings: DaganSettings
    steps: Tensor

    def __init__(self, settings: DaganSettings, classifier: nn.Module) -> None:
        super().__init__(settings, classifier)
        self.settings = settings
        self.augmentor = DaganAugmentor(settings.augmentor)
        self.network = self.augmentor.network
        self.critic = Critic()
        self.classifier = copy.deepcopy(classifier).eval().requires_grad_(False)
        self.register_buffer("steps", torch.tensor(0))
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), settings.learning_rate, betas=(0.0, 0.9))
            for name, module in (("network", self.network), ("critic", self.critic))
        }

    def examples(self, train: Subset) -> Examples:
        """See `Pairs.take`."""
        pairs = Pairs(train)
        return Examples(len(pairs), pairs.take)

    def step(self, images: Tensor, targets: Tensor, partners: Tensor, generator: Generator) -> None:
        """Update the critic, and before it, every few steps, the generator.

        Images are ``[B, 3, H, W]`` in [0, 1], targets class indices ``[B]``.
        """
        settings = self.settings
        self.steps += 1
        turn = int(self.steps) % settings.critic_steps == 0
        with torch.set_grad_enabled(turn):
            noise = self.draw_noise(images, generator)
            variants = self.network(images, noise)
        if turn:
            loss = -self.critic(images, variants).float().mean()
            if settings.recognition_weight:
                recognition = F.cross_entropy(self.classifier(variants).float(), targets)
                loss = loss + settings.recognition_weight * recognition
            if settings.spread_weight:
                other = self.draw_noise(images, generator)
                spread = mode_seeking(variants, self.network(images, other), noise, other)
                loss = loss - settings.spread_weight * spread
            self.move("network", loss)
        variants = variants.detach()
        penalty = gradient_penalty(self.critic, images, partners, variants, generator)
        gap = critic_gap(self.critic, images, partners, variants)
        self.move("critic", settings.penalty_weight * penalty - gap)

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> dict[str, float]:
        """Compute means over all images, with four samples of each.

        Returns:
            ``distance``: the mean absolute difference between the pixels of a variant and its image, in [0, 1].
            ``draw_spread``: the standard deviation of a pixel over the samples of an image. ``entropy_before`` and
            ``entropy_after``: the entropy of the classifier in bits. ``recognized_before`` and ``recognized_after``:
            its accuracy. ``critic_gap``: the difference between the critic's scores of another image of the class and
            of a variant, over the images that share their class with another image of the batch.
        """
        classifier, sums, count, pairs = self.classifier, Counter[str](), 0, 0
        for images, targets in batches:
            count += len(images)
            drawn = torch.stack([self.network(images, self.draw_noise(images, generator)) for _ in range(DRAWS)])
            after = recognition(classifier, classifier, drawn.flatten(0, 1), targets.repeat(DRAWS), "after")
            found = {
                "distance": (drawn - images).abs().mean(dim=(0, 2, 3, 4)).sum(),
                "draw_spread": drawn.std(dim=0).mean(dim=(1, 2, 3)).sum(),
                **recognition(classifier, classifier, images, targets, "before"),
                **{name: value / DRAWS for name, value in after.items()},
            }
            same = (targets[:, None] == targets).fill_diagonal_(False)
            rows, partner = same.any(dim=1).nonzero().squeeze(1), same.int().argmax(dim=1)
            pairs += len(rows)
            if len(rows):
                gap = critic_gap(self.critic, images[rows], images[partner[rows]], drawn[0, rows])
                found["critic_gap"] = gap * len(rows)
            sums.update({name: float(value) for name, value in found.items()})
        return {name: value / (pairs if name == "critic_gap" else count) for name, value in sums.items()}

    def draw_noise(self, images: Tensor, generator: Generator) -> Tensor:
        """Normal noise ``[B, Z]``, on the images' device."""
        return torch.randn(len(images), self.settings.augmentor.noise, generator=generator).to(images.device)


def mode_seeking(variants: Tensor, others: Tensor, noise: Tensor, other_noise: Tensor) -> Tensor:
    """The mean ratio of the distance between variants ``[B, 3, H, W]`` to that of their noise ``[B, Z]``, a scalar.

    Both distances are mean absolute differences.

    References:
        Mao et al., "Mode Seeking Generative Adversarial Networks", CVPR 2019, equation 2.
    """
    apart = (variants - others).abs().flatten(1).mean(dim=1)
    return (apart / (noise - other_noise).abs().mean(dim=1)).mean()
