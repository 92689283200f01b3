"""SAGM: minimizes the objective, its worst value nearby, and the angle between their gradients."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.sam import SAM
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within


@ALGORITHMS.register(
    "sagm", reference="Wang et al., Sharpness-Aware Gradient Matching for Domain Generalization, CVPR 2023."
)
class SAGM(SAM):
    """Aligns the gradient of the objective with that at the worst weights nearby.

    As in `SAM`, but the second gradient is taken `alpha` times the gradient before the worst weights. The gradient of
    a step is the mean of the two.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        radius: rho, 0.05 in the paper.
        alpha: length of the step against the gradient, 0.001 in the paper.

    Raises:
        ValueError: if an option is negative.

    References:
        Wang et al., "Sharpness-Aware Gradient Matching for Domain Generalization", CVPR 2023, equation 8. The paper
        adds the two gradients; their mean keeps the scale of the learning rate.
    """

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        radius: Annotated[float, Choice((0.01, 0.02, 0.05, 0.1))] = 0.05,
        alpha: float = 0.001,
    ) -> None:
        super().__init__(classifier, domain_sizes, radius=radius)
        check_within("[0, inf)", alpha=alpha)
        self.alpha = alpha

    def move(self, slope: Tensor, norm: Tensor) -> Tensor:
        """See `SAM.move`."""
        return super().move(slope, norm) - self.alpha * slope

    def combined(self, first: Tensor, second: Tensor) -> Tensor:
        """See `SAM.combined`."""
        return (first + second) / 2
