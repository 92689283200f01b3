"""One step of the game between a generator of variants and a critic of pairs."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from afield.augment import DaganAugmentor
from afield.augment.learned.dagan.critic import Critic, critic_gap, gradient_penalty
from afield.augment.learned.dagan.settings import DaganSettings
from afield.augment.learned.loop import Game


class DaganGame(Game):
    """The generator, the critic, and a classifier that stays as it is; see `afield.augment.learned.loop.Game`.

    Args:
        settings: see `DaganSettings`.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; copied.
    """

    augmentor: DaganAugmentor
    settings: DaganSettings
    steps: Tensor

    def __init__(self, settings: DaganSettings, classifier: nn.Module) -> None:
        super().__init__()
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

    def step(self, images: Tensor, targets: Tensor, partners: Tensor, generator: Generator) -> None:
        """The critic moves; before it, every few steps, the generator. Images in [0, 1], class indices ``[B]``."""
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

    def draw_noise(self, images: Tensor, generator: Generator) -> Tensor:
        """Normal, ``[B, Z]``, on the images' device."""
        return torch.randn(len(images), self.settings.augmentor.noise, generator=generator).to(images.device)


def mode_seeking(variants: Tensor, others: Tensor, noise: Tensor, other_noise: Tensor) -> Tensor:
    """How far variants ``[B, 3, H, W]`` lie apart for how far their noise ``[B, Z]`` does: a mean of ratios, a scalar.

    Both distances are mean absolute differences.

    References:
        Mao et al., "Mode Seeking Generative Adversarial Networks", CVPR 2019, equation 2.
    """
    apart = (variants - others).abs().flatten(1).mean(dim=1)
    return (apart / (noise - other_noise).abs().mean(dim=1)).mean()
