"""Mean and variance of features, and how statistics of few examples are shrunk towards known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and variance of each feature over examples.

    Attributes:
        mean: ``[D]``.
        variance: ``[D]``, biased: the mean squared distance from the mean, divided by N.
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
        """The statistics of all examples of several sets together."""
        count = sum(part.count for part in parts)
        weights = [part.count / count for part in parts]
        mean = torch.stack([weight * part.mean for weight, part in zip(weights, parts, strict=True)]).sum(dim=0)
        within = [weight * part.variance for weight, part in zip(weights, parts, strict=True)]
        between = [weight * (part.mean - mean).square() for weight, part in zip(weights, parts, strict=True)]
        return cls(mean, torch.stack(within + between).sum(dim=0), count)

    @property
    def std(self) -> Tensor:
        """``[D]``, 0.001 at least: a feature that never changes is not divided by zero."""
        return self.variance.sqrt().clamp(min=1e-3)


def shrink(target: FeatureStatistics, source: FeatureStatistics, pseudo_count: float) -> FeatureStatistics:
    """Statistics of n target examples, as if k further examples with the source's statistics were among them.

    ``mean = (n m_t + k m_s) / (n + k)``, and the same for the (biased) variance.

    Args:
        target: statistics of n examples.
        source: what few examples are shrunk towards.
        pseudo_count: k, in examples; 0 keeps the target's statistics.

    References:
        Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation",
        NeurIPS 2020, equation 1.
    """
    weight = target.count / (target.count + pseudo_count)
    mean = torch.lerp(source.mean, target.mean, weight)
    return FeatureStatistics(mean, torch.lerp(source.variance, target.variance, weight), target.count)
