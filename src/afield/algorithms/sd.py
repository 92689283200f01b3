"""SD: penalizes large logits."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "sd", reference="Pezeshki et al., Gradient Starvation: A Learning Proclivity in Neural Networks, NeurIPS 2021."
)
class SD(Algorithm):
    """Penalizes the mean square of the logits (spectral decoupling).

    Cross-entropy stops learning further features once one feature separates the classes. The penalty takes the place
    of weight decay and decouples the speeds at which features are learned.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the mean square; 0.1 in DomainBed. It is half of the paper's lambda.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Pezeshki et al., "Gradient Starvation", NeurIPS 2021, equation 25.
    """

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(1e-5, 0.1)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``sd``."""
        objective, embedded = self.classifier.objective, self.classifier.embed(batch.inputs)
        return {
            "objective": objective(embedded, batch.targets),
            "sd": self.penalty * objective.logits(embedded).square().mean(),
        }
