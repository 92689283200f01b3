"""Statistics of the training data that adaptations need: features by domain and class frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from afield.adaptation.statistics import FeatureStatistics


@dataclass(frozen=True)
class SourceStatistics:
    """Statistics of the backbone's features of the training images.

    Attributes:
        domains: statistics of each training domain, by name.
        priors: fraction of each class among the training images, ``[K]``.
    """

    domains: Mapping[str, FeatureStatistics]
    priors: Tensor

    @classmethod
    def of(
        cls, features: Tensor, labels: Tensor, domains: Tensor, domain_names: Sequence[str], num_classes: int
    ) -> SourceStatistics:
        """Compute the statistics of training images.

        Args:
            features: features ``[N, D]``.
            labels: class indices ``[N]``.
            domains: indices into `domain_names`, ``[N]``; domains without images are omitted.
            domain_names: names of the domains.
            num_classes: K.
        """
        found = domains.unique().tolist()
        statistics = {domain_names[index]: FeatureStatistics.of(features[domains == index]) for index in found}
        return cls(statistics, labels.bincount(minlength=num_classes) / len(labels))

    @property
    def pooled(self) -> FeatureStatistics:
        """The statistics of all training images together."""
        return FeatureStatistics.pooled([*self.domains.values()])

    def fits(self, features: int, classes: int) -> bool:
        """Whether the statistics are those of this number of features and classes, and finite."""
        parts = [(part.mean, part.variance, part.count) for part in self.domains.values()]
        shapes = all(mean.shape == variance.shape == (features,) and count > 0 for mean, variance, count in parts)
        tensors = [self.priors, *(tensor for mean, variance, _ in parts for tensor in (mean, variance))]
        finite = all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors)
        return bool(parts) and shapes and finite and self.priors.shape == (classes,)

    def distances(self, features: Tensor) -> Tensor:
        """The distance of each image to the nearest training domain: features ``[N, D]`` -> ``[N]``, in deviations."""
        each = [((features - one.mean) / one.std).square().mean(dim=1).sqrt() for one in self.domains.values()]
        return torch.stack(each).amin(dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Convert to named tensors, for a file."""
        named = {"priors": self.priors}
        for name, domain in self.domains.items():
            count = torch.tensor(domain.count)
            named |= {f"mean/{name}": domain.mean, f"variance/{name}": domain.variance, f"count/{name}": count}
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> SourceStatistics:
        """Convert the result of `tensors` back."""
        names = sorted(name.removeprefix("mean/") for name in tensors if name.startswith("mean/"))
        domains = {
            name: FeatureStatistics(tensors[f"mean/{name}"], tensors[f"variance/{name}"], int(tensors[f"count/{name}"]))
            for name in names
        }
        return cls(domains, tensors["priors"])
