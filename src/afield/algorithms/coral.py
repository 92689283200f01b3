"""CORAL: aligns the means and covariances of features across domains."""

from itertools import combinations

import torch
from torch import Tensor

from afield.algorithms.parts.alignment import Alignment
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register("coral", reference="Sun and Saenko, Deep CORAL, ECCV 2016 workshops.")
class CORAL(Alignment):
    """Aligns the means and covariances of the domains' features.

    The loss is the objective plus a distance between feature statistics, averaged over all pairs of domains. The
    distance is the mean squared difference of the means plus the mean squared difference of the covariances. It
    follows DomainBed, which extended the method to several training domains.

    The paper aligns one source domain with one target domain and uses covariances only. It divides the sum of squares
    by ``4 D^2``, which is a fourth of the mean used here.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the distance. The paper gives no number: it chooses the factor so that both losses are
            similar at the end of training. DomainBed's default is 1.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Sun and Saenko, "Deep CORAL", ECCV 2016 workshops, equations 1 to 3.
    """

    term = "coral"

    def distance(self, features: Tensor, domains: Tensor) -> Tensor:
        """The distance averaged over all pairs of domains with two or more examples in the batch."""
        return coral_distance(features, domains)


def coral_distance(features: Tensor, domains: Tensor) -> Tensor:
    """Features ``[B, D]``, domains ``[B]`` -> the distance averaged over all pairs of domains, a scalar."""
    groups = [features[domains == domain] for domain in domains.unique()]
    statistics = [(group.mean(dim=0), group.T.cov()) for group in groups if len(group) > 1]
    distances = [
        (mean - other_mean).square().mean() + (covariance - other_covariance).square().mean()
        for (mean, covariance), (other_mean, other_covariance) in combinations(statistics, 2)
    ]
    return torch.stack(distances).mean() if distances else features.new_zeros(())
