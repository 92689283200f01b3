"""CausIRL: aligns the features of two random parts of each batch, in which the domains have random shares."""

from abc import abstractmethod

import torch
from torch import Tensor

from afield.algorithms.coral import coral_distance
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts.alignment import Alignment
from afield.algorithms.registry import ALGORITHMS

REFERENCE = "Chevalley et al., Invariant Causal Mechanisms through Distribution Matching, 2022."


class CausIRL(Alignment):
    """Base class of the two variants, which differ in the distance between the parts. See `Alignment`."""

    needs = "layers"
    term = "distance"

    def distance(self, features: Tensor, domains: Tensor) -> Tensor:
        """The distance of two random parts of the batch, which is 0 if a part has fewer than two examples."""
        first = random_part(domains)
        smaller = min(int(first.sum()), int((~first).sum()))
        return self.between(features, first) if smaller > 1 else features.new_zeros(())

    @abstractmethod
    def between(self, features: Tensor, first: Tensor) -> Tensor:
        """Features ``[B, D]``, membership of the first part ``[B]`` -> the distance of the parts, a scalar."""


@ALGORITHMS.register("causirl_coral", reference=REFERENCE)
class CausIRLCORAL(CausIRL):
    """Aligns means and covariances of two parts of the batch with random shares of each domain.

    If features have the same distribution for all shares of the domains, they do not depend on the domain.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the distance, 1 in DomainBed.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Chevalley et al., "Invariant Causal Mechanisms through Distribution Matching", 2022, algorithm 1, with the
        distance of `coral_distance`, as in DomainBed.
    """

    def between(self, features: Tensor, first: Tensor) -> Tensor:
        """The squared differences of means and covariances."""
        return coral_distance(features, first)


@ALGORITHMS.register("causirl_mmd", reference=REFERENCE)
class CausIRLMMD(CausIRL):
    """Aligns two parts of the batch with random shares of each domain by several kernels.

    If features have the same distribution for all shares of the domains, they do not depend on the domain.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the discrepancy, 1 in DomainBed.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Chevalley et al., "Invariant Causal Mechanisms through Distribution Matching", 2022, algorithm 1, with the
        discrepancy of `multi_kernel_mmd`. DomainBed sums seven kernels of fixed width.
    """

    def between(self, features: Tensor, first: Tensor) -> Tensor:
        """The squared maximum mean discrepancy."""
        return multi_kernel_mmd(features[first], features[~first])


def random_part(domains: Tensor) -> Tensor:
    """Domains ``[B]`` -> whether each row is in the first part, ``[B]``.

    Of each domain, a random number of its first rows is in it, from none to all but one.
    """
    first = torch.zeros_like(domains, dtype=torch.bool)
    for domain in domains.unique():
        rows = (domains == domain).nonzero().squeeze(1)
        first[rows[: int(torch.randint(len(rows), ()))]] = True
    return first
