"""SWAD: averages the weights over the flat region of the validation loss."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averagings.averaging import Averaging, blend
from afield.algorithms.registry import AVERAGINGS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within


@AVERAGINGS.register("swad", reference="Cha et al., SWAD: Domain Generalization by Seeking Flat Minima, NeurIPS 2021.")
class SWAD(Averaging):
    """Averages the weights of all steps in the flat region of the validation loss.

    The validation loss is evaluated `looks` times during training. The flat region starts at the first evaluation that
    is the lowest of the `converged` evaluations from it on. The region ends before the first `overfitted` consecutive
    evaluations that all exceed `tolerance` times the mean of the first `converged` ones. Before a start is found, the
    current weights are used. Before an end is found, the average extends to the last evaluation. Running statistics of
    batch normalization are averaged in the same way as the weights.

    Args:
        algorithm: algorithm that trains the classifier.
        converged: N_s, 3 in the paper.
        overfitted: N_e, 6 in the paper.
        tolerance: r, 1.3 in the paper (1.2 on VLCS).
        looks: number of evaluations of the validation loss in the whole training. The paper evaluates at fixed
            intervals of steps, which differ between data sets.

    Raises:
        ValueError: if an option is out of range.

    References:
        Cha et al., "SWAD: Domain Generalization by Seeking Flat Minima", NeurIPS 2021, algorithm 1. The paper freezes
        the pretrained batch statistics; here they are updated. The authors' code differs from the paper in two ways
        that are not followed here: if `overfitted` exceeds `converged`, its average also contains evaluations shortly
        before the start whose losses do not exceed the threshold, and without a start it returns the average over the
        last interval instead of the current weights.
    """

    losses: Tensor
    """Validation loss of each evaluation, NaN before it, ``[looks]``."""

    stand: Tensor
    """State, ``[3]``: evaluations done, steps in the current segment, segments in the average."""

    def __init__(
        self,
        algorithm: Algorithm,
        *,
        converged: int = 3,
        overfitted: int = 6,
        tolerance: Annotated[float, Choice((1.2, 1.3))] = 1.3,
        looks: int = 25,
    ) -> None:
        super().__init__(algorithm)
        check_within("[1, inf)", converged=converged, overfitted=overfitted, tolerance=tolerance, looks=looks)
        self.converged, self.overfitted, self.tolerance, self.looks = converged, overfitted, tolerance, looks
        slots = max(converged, overfitted + 1)
        self.segments = nn.ModuleList(_frozen_copy(self.classifier) for _ in range(slots))
        self.average = _frozen_copy(self.classifier)
        self.register_buffer("losses", torch.full((looks,), torch.nan, dtype=torch.float64))
        self.register_buffer("stand", torch.zeros(3, dtype=torch.int64))

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Add the weights to the mean of their segment. Evaluate the validation loss at the end of each segment."""
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
        """A copy with the averaged weights, or the classifier itself if the flat region has not started."""
        seen, _, merged = self.stand.tolist()
        start, end = self._region(seen)
        if start is None:
            return self.classifier
        average = copy.deepcopy(self.average)
        self._merge(average, start, merged, end)
        return average

    def _merge(self, average: nn.Module, start: int, merged: int, end: int) -> int:
        """Extend the average of `merged` segments from `start` to the segments before `end`; return the new count."""
        for look in range(start + merged, end):
            merged += 1
            blend(average, self._segment(look), 1 / merged)
        return merged

    def _segment(self, look: int) -> nn.Module:
        """The mean of the weights between the previous evaluation and evaluation `look`."""
        return self.segments[look % len(self.segments)]

    def _region(self, seen: int) -> tuple[int | None, int]:
        return flat_region(self.losses[:seen].tolist(), self.converged, self.overfitted, self.tolerance)


def flat_region(losses: Sequence[float], converged: int, overfitted: int, tolerance: float) -> tuple[int | None, int]:
    """The first evaluation of the flat region (None if it has not started) and the first after it; see `SWAD`."""
    windows = range(len(losses) - converged + 1)
    start = next((i for i in windows if losses[i] == min(losses[i : i + converged])), None)
    if start is None:
        return None, len(losses)
    limit = tolerance * sum(losses[start : start + converged]) / converged
    runs = range(start + 1, len(losses) - overfitted + 1)
    return start, next((i for i in runs if min(losses[i : i + overfitted]) > limit), len(losses))


def _frozen_copy(classifier: Classifier) -> Classifier:
    """A copy without gradients."""
    return copy.deepcopy(classifier).requires_grad_(False)
