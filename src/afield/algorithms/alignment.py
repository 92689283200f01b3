"""The base class of algorithms that align the features of the training domains."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


class Alignment(Algorithm):
    """Base class of algorithms whose loss is the objective plus a distance between the features of the domains.

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
    sampling = "balanced"
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
        features = self.classifier.features(batch.inputs)
        distance = self.distance(features, batch.domains)
        objective = self.classifier.objective(self.classifier.dropout(features), batch.targets)
        return {"objective": objective, self.term: self.penalty * distance}
