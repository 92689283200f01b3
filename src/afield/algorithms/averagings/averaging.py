"""The base class of weight averaging: it wraps an algorithm and predicts with averaged weights."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Sampling, Terms
from afield.classifier import Classifier


class Averaging(Algorithm):
    """Base class of averages of the weights over the training steps.

    A subclass extends `end_step`, which reads the weights, and `predictor`, which returns their average. All other
    methods delegate to the wrapped algorithm. Hyper-parameters are keyword-only. A recipe sets them with
    ``averaging_options``.

    Args:
        algorithm: algorithm that trains the classifier.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        nn.Module.__init__(self)
        self.algorithm = algorithm

    @property
    def classifier(self) -> Classifier:  # type: ignore[override]
        """The classifier that the algorithm trains."""
        return self.algorithm.classifier

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        """The sampling of the wrapped algorithm."""
        return self.algorithm.sampling

    @property
    def uses_target(self) -> bool:  # type: ignore[override]
        """That of the algorithm."""
        return self.algorithm.uses_target

    def terms(self, batch: Batch) -> Terms:
        """See `Algorithm.terms`."""
        return self.algorithm(batch)

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """See `Algorithm.update`."""
        return self.algorithm.update(forward, batch, backward)

    def start_epoch(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """See `Algorithm.start_epoch`."""
        self.algorithm.start_epoch(batches)

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """See `Algorithm.end_step`."""
        self.algorithm.end_step(done, steps, validate)

    def predictor(self) -> Classifier:
        """See `Algorithm.predictor`."""
        return self.algorithm.predictor()


@torch.no_grad()
def blend(average: nn.Module, new: nn.Module, fraction: float) -> None:
    """Interpolate the weights and running statistics of `average` towards those of `new` by `fraction`, in place.

    Integer buffers (counters) are copied from `new`.
    """
    for kept, found in zip(average.state_dict().values(), new.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(found, fraction)
        else:
            kept.copy_(found)
