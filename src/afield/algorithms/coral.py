"""CORAL: aligns the means and covariances of features across domains."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register("coral", reference="Sun and Saenko, Deep CORAL, ECCV 2016 workshops.")
class CORAL(Algorithm):
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

    domains_at_least = 2
    sampling = "balanced"

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, penalty: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``coral``. Domains with fewer than two examples in the batch are left out of ``coral``."""
        features = self.classifier.features(batch.inputs)
        objective = self.classifier.objective(self.classifier.dropout(features), batch.targets)
        return {"objective": objective, "coral": self.penalty * coral_distance(features, batch.domains)}


def coral_distance(features: Tensor, domains: Tensor) -> Tensor:
    """Features ``[B, D]``, domains ``[B]`` -> the distance averaged over all pairs of domains, a scalar."""
    groups = [features[domains == domain] for domain in domains.unique()]
    statistics = [(group.mean(dim=0), group.T.cov()) for group in groups if len(group) > 1]
    distances = [
        (mean - other_mean).square().mean() + (covariance - other_covariance).square().mean()
        for (mean, covariance), (other_mean, other_covariance) in combinations(statistics, 2)
    ]
    return torch.stack(distances).mean() if distances else features.new_zeros(())
