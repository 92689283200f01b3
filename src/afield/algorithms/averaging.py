"""An algorithm around another one: it trains as that one does, and predicts with averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Sampling, Terms
from afield.classifier import Classifier


class Averaging(Algorithm):
    """Base of averages over the weights that training passes through.

    A subclass has an `end_step` that looks at the weights, and a `predictor` that is their average; both start from
    the ones here. Hyper-parameters are keyword-only; a recipe sets them by ``averaging_options``.

    Args:
        algorithm: what trains.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        nn.Module.__init__(self)
        self.algorithm = algorithm

    @property
    def classifier(self) -> Classifier:  # type: ignore[override]
        """The one that is trained."""
        return self.algorithm.classifier

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        """That of the algorithm."""
        return self.algorithm.sampling

    @property
    def uses_target(self) -> bool:  # type: ignore[override]
        """That of the algorithm."""
        return self.algorithm.uses_target

    def terms(self, batch: Batch) -> Terms:
        """Those of the algorithm."""
        return self.algorithm(batch)

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """That of the algorithm."""
        return self.algorithm.update(forward, batch, backward)

    def start_epoch(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """That of the algorithm."""
        self.algorithm.start_epoch(batches)

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """That of the algorithm."""
        self.algorithm.end_step(done, steps, validate)

    def predictor(self) -> Classifier:
        """That of the algorithm."""
        return self.algorithm.predictor()


@torch.no_grad()
def blend(average: nn.Module, new: nn.Module, fraction: float) -> None:
    """Move the weights and running statistics of `average` by `fraction` of the way to those of `new`, in place.

    Counters are taken over from `new`.
    """
    for kept, found in zip(average.state_dict().values(), new.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(found, fraction)
        else:
            kept.copy_(found)
