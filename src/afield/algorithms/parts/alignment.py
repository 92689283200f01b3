"""The base class of algorithms that align the features of the training domains, or also of the new place."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Sampling, Terms
from afield.algorithms.parts.target import features_of_both
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within

TARGET = -1
"""Domain of the new place in `Alignment.distance`."""


class Alignment(Algorithm):
    """Base class of algorithms whose loss is the objective plus a distance between the features of the domains.

    If a subclass sets `uses_target`, the unlabeled new place is an additional domain, `TARGET`.

    Attributes:
        term: name of the distance in the log.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the distance.

    Raises:
        ValueError: if the penalty is negative.
    """

    domains_at_least = 2
    sampling: ClassVar[Sampling] = "balanced"
    term: ClassVar[str]

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.1, 10)] = 1.0,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    @abstractmethod
    def distance(self, features: Tensor, domains: Tensor) -> Tensor:
        """Features ``[B, D]``, domains ``[B]`` -> the distance, a scalar, which is 0 if there is nothing to compare."""

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and the distance."""
        if self.uses_target:
            source, target = features_of_both(self.classifier, batch)
            features = torch.cat([source, target])
            domains = torch.cat([batch.domains, batch.domains.new_full((len(target),), TARGET)])
        else:
            features = source = self.classifier.features(batch.inputs)
            domains = batch.domains
        distance = self.distance(features, domains)
        objective = self.classifier.objective(self.classifier.dropout(source), batch.targets)
        return {"objective": objective, self.term: self.penalty * distance}
