"""Measures of a generator of variants: distance from the images, spread, and whether the class is kept."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor

from afield.augment.learned.dagan.critic import critic_gap
from afield.augment.learned.dagan.game import DaganGame
from afield.augment.learned.recognition import entropy_and_recognized

DRAWS = 4


@torch.no_grad()
def measure_variants(
    game: DaganGame, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator
) -> dict[str, float]:
    """Means over all images, and four draws of each.

    Returns:
        ``distance``, the mean absolute difference between a variant and its image, of pixels in [0, 1];
        ``draw_spread``, the deviation of a pixel over the draws of an image; ``entropy_before``, ``entropy_after``
        in bits and ``recognized_before``, ``recognized_after``, of the classifier; ``critic_gap``, by how much the
        critic scores another image of the class above a variant, over the images with such a one in their batch.
    """
    classifier, count, pairs = game.classifier, 0, 0
    sums: dict[str, float] = {}
    for images, targets in batches:
        count += len(images)
        drawn = torch.stack([game.network(images, game.draw_noise(images, generator)) for _ in range(DRAWS)])
        before = entropy_and_recognized(classifier, classifier, images, targets)
        after = entropy_and_recognized(classifier, classifier, drawn.flatten(0, 1), targets.repeat(DRAWS))
        same = (targets[:, None] == targets).fill_diagonal_(False)
        rows, partner = same.any(dim=1).nonzero().squeeze(1), same.int().argmax(dim=1)
        pairs += len(rows)
        found = {
            "distance": (drawn - images).abs().mean(dim=(0, 2, 3, 4)).sum(),
            "draw_spread": drawn.std(dim=0).mean(dim=(1, 2, 3)).sum(),
            "entropy_before": before[0],
            "recognized_before": before[1],
            "entropy_after": after[0] / DRAWS,
            "recognized_after": after[1] / DRAWS,
        }
        if len(rows):
            gap = critic_gap(game.critic, images[rows], images[partner[rows]], drawn[0, rows])
            found["critic_gap"] = gap * len(rows)
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / (pairs if name == "critic_gap" else count) for name, value in sums.items()}
