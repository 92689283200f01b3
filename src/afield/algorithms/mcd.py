"""MCD: two heads maximize their discrepancy on the new place, and the features minimize it."""

from collections.abc import Sequence

from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.random_objective import random_objective
from afield.algorithms.parts.reversal import scaled_gradient
from afield.algorithms.parts.target import features_of_both
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "mcd", reference="Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR 2018."
)
class MCD(Algorithm):
    """Two heads maximize their discrepancy on the unlabeled new place; the features minimize it.

    The loss is the objective of both heads, minus `discrepancy` times the mean absolute difference of their
    probabilities on the new place. The gradient of the difference is reversed for the backbone, so that heads and
    backbone are trained in a single step, as with the option ``--one_step`` of the authors' code. The paper uses three
    steps and repeats the last one. The second head has the same losses and its own class vectors. It is used in
    training only; the paper averages both heads for predictions.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        discrepancy: factor of the discrepancy; 1 in the paper.

    Raises:
        ValueError: if the factor is negative.

    References:
        Saito et al., "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation", CVPR 2018, equations 2 to 6;
        mil-tokyo/MCD_DA for the single step.
    """

    needs = "layers"
    soft_targets = False
    uses_target = True

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, discrepancy: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", discrepancy=discrepancy)
        self.discrepancy = discrepancy
        self.second = random_objective(classifier.objective)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``second`` (the objective of the second head) and ``discrepancy``, which is negative."""
        source, target = features_of_both(self.classifier, batch)
        first, dropout = self.classifier.objective, self.classifier.dropout
        source, target = dropout(source), scaled_gradient(dropout(target), -1.0)
        return {
            "objective": first(source, batch.targets),
            "second": self.second(source, batch.targets),
            "discrepancy": -self.discrepancy * discrepancy(first.logits(target), self.second.logits(target)),
        }


def discrepancy(logits: Tensor, others: Tensor) -> Tensor:
    """Logits ``[B, K]`` of two heads -> the mean absolute difference of their probabilities, a scalar."""
    return (logits.softmax(dim=1) - others.softmax(dim=1)).abs().mean()
