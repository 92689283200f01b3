"""Refit the head of a model to labeled images of a new place, on ready features."""

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
    """Labeled images.

    Attributes:
        features: ``[N, D]``.
        labels: class indices ``[N]``.
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: Tensor) -> Labeled:
        """The images at these indices, or where a mask is true."""
        return Labeled(self.features[rows], self.labels[rows])


def refit(
    objective: Objective, target: Labeled, source: Labeled | None = None, *, trust: float = DEFAULT_TRUST
) -> Objective:
    """A copy of the objective whose head is fitted to labeled images of a new place.

    It minimizes ``n L(target) + trust (|w - w_0|^2 s / 2 + L(source))``, where L is the objective's own loss, averaged
    over images, n the number of target images, w_0 the weights of the head as it is, and s the mean square of a
    feature, so that the scale of features does not matter.

    Args:
        objective: of the model, in evaluation mode.
        target: images of the new place.
        source: images that the model was trained on, if they are at hand.
        trust: how many target images the head as it is counts for.

    Returns:
        an objective without gradients; the one that was given is not changed.
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
    """The trust of `TRUSTS` that is wrong least often about target images it was not fitted to (cross-validation).

    Of equally good ones it is the first. With fewer than two images for each of `FOLDS` folds it is `DEFAULT_TRUST`.
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
