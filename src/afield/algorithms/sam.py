"""SAM: uses the gradient at the worst weights nearby, which leads to flat minima."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from afield.algorithms.algorithm import Algorithm, Batch, Terms, total
from afield.algorithms.parts.domain_gradients import add_gradient, take_gradients
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within

TINY = 1e-12


@ALGORITHMS.register(
    "sam", reference="Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021."
)
class SAM(Algorithm):
    """Uses the gradient at the worst weights nearby, which leads to flat minima.

    The gradient of a step is that of the objective at the weights plus `radius` times the gradient of length 1. Each
    step takes two passes. The second pass does not change the running statistics of batch normalization.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        radius: rho, 0.05 in the paper.

    Raises:
        ValueError: if the radius is negative.

    References:
        Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021, algorithm 1.
    """

    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        radius: Annotated[float, Choice((0.01, 0.02, 0.05, 0.1))] = 0.05,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", radius=radius)
        self.radius = radius

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """Add the gradients to ``parameter.grad``."""
        weights = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        before = take_gradients(weights)
        terms = forward(batch)
        backward(total(terms))
        slopes = _take_slopes(weights)
        norm = torch.stack([slope.norm() for slope in slopes]).norm()
        kept = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight.add_(self.move(slope, norm))
        with _running_statistics_kept(self.classifier):
            backward(total(forward(batch)))
        seconds = _take_slopes(weights)
        with torch.no_grad():
            for weight, value, first, second, earlier in zip(weights, kept, slopes, seconds, before, strict=True):
                weight.copy_(value)
                weight.grad = earlier
                add_gradient(weight, self.combined(first, second))
        return {name: term.detach() for name, term in terms.items()}

    def move(self, slope: Tensor, norm: Tensor) -> Tensor:
        """The way from a weight to the point of the second gradient.

        Args:
            slope: gradient of the weight.
            norm: length of the gradient of all weights together.
        """
        return slope * (self.radius / (norm + TINY))

    def combined(self, first: Tensor, second: Tensor) -> Tensor:
        """The gradient of a weight, from those at the two points."""
        return second


def _take_slopes(weights: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients, 0 where there is none, and remove them from the weights."""
    gradients = zip(weights, take_gradients(weights), strict=True)
    return [torch.zeros_like(weight) if gradient is None else gradient for weight, gradient in gradients]


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """In this context, batch normalization does not update its running statistics."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm.load_state_dict(buffers, strict=False)
