"""An algorithm that keeps the features close to those of the initial network."""

import copy
from collections.abc import Sequence

from afield.algorithms import ALGORITHMS, Algorithm, Batch, Terms
from afield.classifier import Classifier


@ALGORITHMS.register(
    "distilled", reference="Li et al., DELTA: Deep Learning Transfer using Feature Map with Attention, ICLR 2019."
)
class Distilled(Algorithm):
    """Adds the squared distance between the features and those of the initial network.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: weight of the distance.
    """

    needs = "images"

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, penalty: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        self.penalty = penalty
        self.initial = copy.deepcopy(classifier.backbone).requires_grad_(False)

    def terms(self, batch: Batch) -> Terms:
        """The objective and the distance."""
        features = self.classifier.features(batch.inputs)
        initial = self.initial(self.classifier.normalize(batch.inputs))
        return {
            "objective": self.classifier.objective(self.classifier.dropout(features), batch.targets),
            "distance": self.penalty * (features - initial).square().mean(),
        }
