"""SAND-mask: weighs the updates by how well the domains' gradients agree in sign and size."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from afield.algorithms.and_mask import ANDMask
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform, Uniform
from afield.validation import check_within

SMALLEST_VARIANCE = 1e-17


@ALGORITHMS.register(
    "sand_mask", reference="Shahtalebi et al., SAND-mask: An Enhanced Gradient Masking Strategy, 2021."
)
class SANDMask(ANDMask):
    """Weighs updates by the agreement of the domains' gradients in sign and size.

    The factor of a gradient is ``tanh(steepness * (|mean sign| - agreement) / variance over domains)``, and 0 where
    this is negative. The gradients of each weight matrix are divided by the mean factor.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        agreement: tau, smallest absolute value of the mean sign, in [0, 1); 0.5 here. With DomainBed's default of 1 all
            factors are 0; its search draws from 0 to 1.
        steepness: k, 10 in DomainBed.

    Raises:
        ValueError: if an option is out of range.

    References:
        Shahtalebi et al., "SAND-mask: An Enhanced Gradient Masking Strategy for the Discovery of Invariances in Domain
        Generalization", 2021, equation 4.
    """

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        agreement: Annotated[float, Uniform(0, 1)] = 0.5,
        steepness: Annotated[float, LogUniform(1e-3, 1e5)] = 10.0,
    ) -> None:
        super().__init__(classifier, domain_sizes, agreement=agreement)
        check_within("[0, 1)", agreement=agreement)
        check_within("(0, inf)", steepness=steepness)
        self.steepness = steepness

    def mask(self, gradients: Tensor) -> Tensor:
        """Gradients of the domains ``[G, ...]`` -> the factor of their mean, ``[...]``."""
        beyond = gradients.sign().mean(dim=0).abs() - self.agreement
        variance = gradients.var(dim=0, correction=min(1, len(gradients) - 1)).clamp(min=SMALLEST_VARIANCE)
        return (self.steepness * beyond / variance).tanh().clamp(min=0.0)
