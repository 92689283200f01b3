"""Measures of an affine augmentor: distance from the identity, spread, and the classifier's predictions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Generator, Tensor

from afield.augment import identity_distance, warp_affine
from afield.augment.learned.affine.game import AffineGame, adversarial_loss, discriminator_loss
from afield.augment.learned.recognition import entropy_and_recognized

DRAWS = 4
NEAR_BOUND = 0.95


@torch.no_grad()
def measure(game: AffineGame, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> dict[str, float]:
    """Means over all images and four draws of each; the classifier and teacher are those of the game.

    Returns:
        ``distance`` of theta from the identity; ``image_spread``, ``draw_spread``, the deviation of theta's entries
        over images (of the mean over draws) and over draws of an image, averaged; ``at_bound``, the fraction of
        parameters beyond 95 % of their bound; ``entropy_before``, ``entropy_after`` in bits; ``recognized_before``,
        ``recognized_after``, the teacher's accuracy; with a discriminator its ``discriminator_accuracy``,
        ``augmentor_loss`` and ``discriminator_loss``.
    """
    was_training = game.classifier.training
    game.classifier.eval()
    settings, augmentor = game.settings, game.augmentor
    sums: dict[str, float] = {}
    thetas, count = [], 0
    for images, targets in batches:
        count += len(images)
        recognition = partial(entropy_and_recognized, game.classifier, game.teacher, targets=targets)
        found: dict[str, Tensor] = {}
        found["entropy_before"], found["recognized_before"] = recognition(images)
        drawn = []
        for _ in range(DRAWS):
            noise = augmentor.draw_noise(len(images), generator)
            choice = augmentor.choose(images, noise)
            theta = augmentor.theta(choice, noise)
            warped = warp_affine(images, theta, settings.augmentor.padding)
            entropy, recognized = recognition(warped)
            numbers = choice.center + choice.width * noise[:, :6]
            parts = {
                "distance": identity_distance(theta).sum(),
                "at_bound": (numbers.abs() > NEAR_BOUND).float().mean(dim=1).sum(),
                "entropy_after": entropy,
                "recognized_after": recognized,
            }
            if game.discriminator is not None:
                real, fake = game.discriminator(images), game.discriminator(warped)
                parts["discriminator_accuracy"] = ((real > 0).sum() + (fake <= 0).sum()) / 2
                parts["augmentor_loss"] = adversarial_loss(fake, settings.discriminator) * len(images)
                parts["discriminator_loss"] = discriminator_loss(game.discriminator, images, warped) * len(images)
            for name, value in parts.items():
                found[name] = found.get(name, torch.zeros(())) + value / DRAWS
            drawn.append(theta.flatten(1))
        thetas.append(torch.stack(drawn))
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    game.classifier.train(was_training)
    theta = torch.cat(thetas, dim=1)
    return {
        **{name: value / count for name, value in sums.items()},
        "image_spread": float(theta.mean(dim=0).std(dim=0).mean()),
        "draw_spread": float(theta.std(dim=0).mean()),
    }
