"""MCC: minimizes the class confusion of predictions on the new place."""

from collections.abc import Sequence

from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.target import entropy, features_of_both
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register("mcc", reference="Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020.")
class MCC(Algorithm):
    """Minimizes the confusion between classes in the predictions on the unlabeled new place.

    The loss is the objective plus `confusion` times the class confusion in a batch of the new place.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        confusion: factor of the class confusion; 1 in the authors' code.
        temperature: divisor of the logits; 2.5 in the paper.

    Raises:
        ValueError: if the factor is negative, or the temperature is not positive.

    References:
        Jin et al., "Minimum Class Confusion for Versatile Domain Adaptation", ECCV 2020, equations 1 to 5.
    """

    soft_targets = False
    uses_target = True

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, confusion: float = 1.0, temperature: float = 2.5
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", confusion=confusion)
        check_within("(0, inf)", temperature=temperature)
        self.confusion, self.temperature = confusion, temperature

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``confusion``."""
        source, target = features_of_both(self.classifier, batch)
        objective, dropout = self.classifier.objective, self.classifier.dropout
        return {
            "objective": objective(dropout(source), batch.targets),
            "confusion": self.confusion * class_confusion(objective.logits(dropout(target)), self.temperature),
        }


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Logits ``[B, K]`` -> the class confusion of the predictions, a scalar in [0, 1].

    The confusion of two classes is the sum over examples of the product of their probabilities, weighted by
    ``1 + exp(-H)``, where H is the example's entropy. Each row is divided by its sum; the sum of the off-diagonal
    entries is divided by the number of classes. The weights have no gradient, as in the authors' code.

    >>> import torch
    >>> float(class_confusion(torch.zeros(4, 5), 1.0))  # uniform predictions: 4 of 5 entries are off the diagonal
    0.8...
    """
    scaled = logits / temperature
    probabilities = scaled.softmax(dim=1)
    weights = 1 + (-entropy(scaled.detach())).exp()
    weights = weights * len(weights) / weights.sum()
    pairs = (weights[:, None] * probabilities).T @ probabilities
    confusion = pairs / pairs.sum(dim=1, keepdim=True)
    return 1 - confusion.trace() / len(confusion)
