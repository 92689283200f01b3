"""Refits the head of a model to labeled images of a new place, on precomputed features."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from afield.objective import Objective

TRUSTS = (2.0, 0.5, 8.0)
DEFAULT_TRUST = TRUSTS[0]
FOLDS = 4


@dataclass(frozen=True)
class Labeled:
    """Features and labels of images.

    Attributes:
        features: features ``[N, D]``.
        labels: class indices ``[N]``.
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: Tensor) -> Labeled:
        """Return the images with these indices, or with a true mask."""
        return Labeled(self.features[rows], self.labels[rows])


def refit(
    objective: Objective, target: Labeled, source: Labeled | None = None, *, trust: float = DEFAULT_TRUST
) -> Objective:
    """Return a copy of the objective with a head that is fitted to labeled images of a new place.

    The fit minimizes ``n L(target) + trust (|w - w_0|^2 s / 2 + L(source))``. L is the objective's own loss, averaged
    over images; n is the number of target images, w_0 the weights of the previous head, and s the mean square of a
    feature, so that the scale of the features does not matter.

    Args:
        objective: objective of the model, in evaluation mode.
        target: images of the new place.
        source: training images of the model, if available.
        trust: weight of the previous head, in target images.

    Returns:
        an objective without gradients. The given objective is not changed.
    """
    fitted = copy.deepcopy(objective).eval().requires_grad_(False)
    weights = [each.requires_grad_() for each in fitted.head.parameters()]
    before = [each.detach().clone() for each in weights]
    scale, share = target.features.square().mean() / 2, trust / len(target)
    optimizer = torch.optim.LBFGS(weights, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        moved = torch.stack([(now - then).square().sum() for now, then in zip(weights, before, strict=True)]).sum()
        loss = fitted(target.features, target.labels) + share * scale * moved
        if source is not None:
            loss = loss + share * fitted(source.features, source.labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return fitted.requires_grad_(False)


def choose_trust(objective: Objective, target: Labeled, source: Labeled | None = None) -> float:
    """Choose the value in `TRUSTS` with the fewest errors in cross-validation on the target images.

    If several values are equally good, the first one is chosen. With fewer than two images for each of `FOLDS` folds,
    the result is `DEFAULT_TRUST`.
    """
    if len(target) < 2 * FOLDS:
        return DEFAULT_TRUST
    fold = torch.randperm(len(target), generator=torch.Generator().manual_seed(0)) % FOLDS
    parts = [(target.part(fold != k), target.part(fold == k)) for k in range(FOLDS)]

    def wrong(trust: float) -> int:
        return sum(_wrong(refit(objective, fit, source, trust=trust), left) for fit, left in parts)

    return min(TRUSTS, key=wrong)


def _wrong(objective: Objective, images: Labeled) -> int:
    with torch.no_grad():
        return int((objective.logits(images.features).argmax(dim=1) != images.labels).sum())
