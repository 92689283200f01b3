"""MCD: two heads that disagree on the new place as much as they can, and features that make them agree."""

from collections.abc import Sequence

from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.random_objective import random_objective
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.reversal import scaled_gradient
from afield.algorithms.target import features_of_both
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "mcd", reference="Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR 2018."
)
class MCD(Algorithm):
    """Two heads maximize their discrepancy on the unlabeled new place; the features minimize it.

    The objective with two heads, which also maximize their discrepancy on the new place; the backbone minimizes it.

    The discrepancy is the mean absolute difference of the heads' probabilities. Heads and backbone move in one step,
    with a reversed gradient between them: the option ``--one_step`` of the authors' code. The paper takes three steps,
    the last of them several times. The second head has the same losses and class vectors of its own; it is there in
    training only, where the paper averages both.

    Args:
        classifier: trained in place.
        domain_sizes: not used.
        discrepancy: factor of the discrepancy, 1 in the paper.

    Raises:
        ValueError: a negative factor.

    References:
        Saito et al., "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation", CVPR 2018, equations 2
        to 6; mil-tokyo/MCD_DA for the single step.
    """

    needs = "images"
    soft_targets = False
    uses_target = True

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, discrepancy: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", discrepancy=discrepancy)
        self.discrepancy = discrepancy
        self.second = random_objective(classifier.objective)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``second`` (that of the other head) and ``discrepancy``, negative: the heads maximize it."""
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
