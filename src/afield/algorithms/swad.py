"""SWAD: averages the weights over the flat region of the validation loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averaging import Averaging, blend
from afield.algorithms.registry import AVERAGINGS
from afield.classifier import Classifier
from afield.validation import check_within


@AVERAGINGS.register("swad", reference="Cha et al., SWAD: Domain Generalization by Seeking Flat Minima, NeurIPS 2021.")
class SWAD(Averaging):
    """Averages the weights of all steps in the flat region of the validation loss.

    The mean of the weights of every step from the start of the flat region to its end.

    The validation loss is looked at some times during training. The region starts at the first look that is the
    lowest of the `converged` looks from it on; it ends before the first run of `overfitted` looks that all lie above
    `tolerance` times the mean of those. Until the start is known the classifier predicts as it is; until the end
    is, the average goes up to the last look. Running statistics of batch normalization are averaged as the weights are.

    Args:
        algorithm: what trains.
        converged: N_s, 3 in the paper.
        overfitted: N_e, 6 in the paper.
        tolerance: r, 1.3 in the paper (1.2 on VLCS).
        looks: at the validation loss, over the whole training. The paper looks at fixed numbers of steps, which
            differ between data sets.

    Raises:
        ValueError: an option out of bounds.

    References:
        Cha et al., "SWAD: Domain Generalization by Seeking Flat Minima", NeurIPS 2021, algorithm 1. The paper keeps
        pretrained batch statistics fixed; here they train.
    """

    losses: Tensor
    stand: Tensor

    def __init__(
        self,
        algorithm: Algorithm,
        *,
        converged: int = 3,
        overfitted: int = 6,
        tolerance: float = 1.3,
        looks: int = 25,
    ) -> None:
        super().__init__(algorithm)
        check_within("[1, inf)", converged=converged, overfitted=overfitted, tolerance=tolerance, looks=looks)
        self.converged, self.overfitted, self.tolerance, self.looks = converged, overfitted, tolerance, looks
        slots = max(converged, overfitted + 1)
        self.segments = nn.ModuleList(_still(self.classifier) for _ in range(slots))
        self.average = _still(self.classifier)
        self.register_buffer("losses", torch.full((looks,), torch.nan, dtype=torch.float64))
        self.register_buffer("stand", torch.zeros(3, dtype=torch.int64))

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Add the weights to the mean of their segment; at the end of one, look at the validation loss."""
        super().end_step(done, steps, validate)
        seen, inside, merged = self.stand.tolist()
        if seen == self.looks:
            return
        blend(self._segment(seen), self.classifier, 1 / (inside + 1))
        inside += 1
        if done % math.ceil(steps / self.looks) == 0:
            self.losses[seen] = validate()
            seen, inside = seen + 1, 0
            start, end = self._region(seen)
            if start is not None:
                merged = self._merge(self.average, start, merged, min(end, seen - self.overfitted + 1))
        self.stand.copy_(torch.tensor([seen, inside, merged]))

    def predictor(self) -> Classifier:
        """A copy with the weights' average, or the classifier as it is where the region has not begun."""
        seen, _, merged = self.stand.tolist()
        start, end = self._region(seen)
        if start is None:
            return self.classifier
        average = copy.deepcopy(self.average)
        self._merge(average, start, merged, end)
        return average

    def _merge(self, average: nn.Module, start: int, merged: int, end: int) -> int:
        """Add the segments up to `end` to the average of `merged` segments from `start` on; how many it has then."""
        for look in range(start + merged, end):
            merged += 1
            blend(average, self._segment(look), 1 / merged)
        return merged

    def _segment(self, look: int) -> nn.Module:
        """The mean of the weights between the look before and this one, kept for as long as it may be needed."""
        return self.segments[look % len(self.segments)]

    def _region(self, seen: int) -> tuple[int | None, int]:
        return flat_region(self.losses[:seen].tolist(), self.converged, self.overfitted, self.tolerance)


def flat_region(losses: Sequence[float], converged: int, overfitted: int, tolerance: float) -> tuple[int | None, int]:
    """The first look of the flat region (None: not begun), and the first after it: see `SWAD`."""
    windows = range(len(losses) - converged + 1)
    start = next((i for i in windows if losses[i] == min(losses[i : i + converged])), None)
    if start is None:
        return None, len(losses)
    limit = tolerance * sum(losses[start : start + converged]) / converged
    runs = range(start + 1, len(losses) - overfitted + 1)
    return start, next((i for i in runs if min(losses[i : i + overfitted]) > limit), len(losses))


def _still(classifier: Classifier) -> Classifier:
    """A copy that does not train."""
    return copy.deepcopy(classifier).requires_grad_(False)
