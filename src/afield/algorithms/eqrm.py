"""EQRM: minimizes a high quantile of the risks of the domains."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Normal

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform, Uniform
from afield.validation import check_within

STEPS = 60
"""Bisections of the interval that contains the quantile."""

NARROWEST = 1e-6
"""Smallest bandwidth, for domains with the same risk."""


@ALGORITHMS.register(
    "eqrm", reference="Eastwood et al., Probable Domain Generalization via Quantile Risk Minimization, NeurIPS 2022."
)
class EQRM(Algorithm):
    """Minimizes a quantile of the distribution of the domains' risks.

    The distribution is estimated from the risks in the batch by Gaussian kernels. With a quantile of 0.75, a new
    domain has a lower risk with a probability of 0.75, if it comes from the same distribution. The mean risk is
    minimized during the first `warmup` fraction of the steps.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        quantile: alpha, 0.75 in DomainBed.
        warmup: fraction of the steps with the mean risk, 0.5 in DomainBed (2,500 of 5,000).

    Raises:
        ValueError: if an option is out of range.

    References:
        Eastwood et al., "Probable Domain Generalization via Quantile Risk Minimization", NeurIPS 2022, algorithm 1,
        with the bandwidth ``1.06 s G^(-1/5)`` for G risks of standard deviation s. The gradient is that of the
        quantile; DomainBed's is that of a point at a constant share of the way between the ends of its bisection,
        which depend on the lowest and the highest risk. DomainBed lowers its learning rate and restarts its optimizer
        after the warm-up.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        quantile: Annotated[float, Uniform(0.5, 0.99)] = 0.75,
        warmup: Annotated[float, LogUniform(0.06, 0.63)] = 0.5,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("(0, 1)", quantile=quantile)
        check_within("[0, 1]", warmup=warmup)
        self.quantile, self.warmup = quantile, warmup

    def terms(self, batch: Batch) -> Terms:
        """``objective``: the mean of the risks, or their quantile."""
        risks = domain_risks(self.classifier, batch).values
        if batch.progress < self.warmup or len(risks) == 1:
            return {"objective": risks.mean()}
        return {"objective": kernel_quantile(risks, self.quantile)}


def kernel_quantile(values: Tensor, quantile: float) -> Tensor:
    """The quantile of the mean of normal distributions around the values ``[G]``, a scalar with the exact gradient."""
    bandwidth = (1.06 * len(values) ** -0.2 * values.std()).clamp(min=NARROWEST)
    with torch.no_grad():
        kernels = Normal(values, bandwidth)
        low, high = values.min() - 10 * bandwidth, values.max() + 10 * bandwidth
        for _ in range(STEPS):
            middle = (low + high) / 2
            below = kernels.cdf(middle).mean() < quantile
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        offsets = (middle - values) / bandwidth
        weights = (-0.5 * offsets.square()).softmax(dim=0)
    # Implicit differentiation: with these weights and offsets held constant, this has the value and the gradient.
    return (weights * (values + offsets * bandwidth)).sum()
