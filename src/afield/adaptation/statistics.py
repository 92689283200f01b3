"""Mean and variance of features, and shrinkage of the statistics of few examples towards known statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and variance of each feature over examples.

    Attributes:
        mean: mean of each feature, ``[D]``.
        variance: biased variance, ``[D]``: the sum of squared distances from the mean, divided by N.
        count: N, the number of examples.
    """

    mean: Tensor
    variance: Tensor
    count: int

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """The statistics of features ``[N, D]``.

        >>> FeatureStatistics.of(torch.tensor([[1.0], [3.0]]))
        FeatureStatistics(mean=tensor([2.]), variance=tensor([1.]), count=2)
        """
        variance, mean = torch.var_mean(features, dim=0, correction=0)
        return cls(mean, variance, len(features))

    @classmethod
    def pooled(cls, parts: Sequence[FeatureStatistics]) -> FeatureStatistics:
        """The statistics of the union of several sets of examples."""
        count = sum(part.count for part in parts)
        weights = [part.count / count for part in parts]
        mean = torch.stack([weight * part.mean for weight, part in zip(weights, parts, strict=True)]).sum(dim=0)
        within = [weight * part.variance for weight, part in zip(weights, parts, strict=True)]
        between = [weight * (part.mean - mean).square() for weight, part in zip(weights, parts, strict=True)]
        return cls(mean, torch.stack(within + between).sum(dim=0), count)

    @property
    def std(self) -> Tensor:
        """The standard deviation ``[D]``, at least 0.001, to avoid division by zero for constant features."""
        return self.variance.sqrt().clamp(min=1e-3)


def shrink(target: FeatureStatistics, source: FeatureStatistics, pseudo_count: float) -> FeatureStatistics:
    """Shrink the statistics of n target examples towards the source statistics, with a weight of k examples.

    ``mean = (n m_t + k m_s) / (n + k)``, and the same for the (biased) variance.

    Args:
        target: statistics of n examples.
        source: known statistics.
        pseudo_count: k, in examples; 0 returns the statistics of the target.

    References:
        Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS 2020,
        equation 1.
    """
    weight = target.count / (target.count + pseudo_count)
    mean = torch.lerp(source.mean, target.mean, weight)
    return FeatureStatistics(mean, torch.lerp(source.variance, target.variance, weight), target.count)
