"""IB-IRM: the penalty of IRM and the variance of the features within each domain."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.ib_erm import feature_variance
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "ib_irm", reference="Ahuja et al., Invariance Principle Meets Information Bottleneck, NeurIPS 2021."
)
class IBIRM(Algorithm):
    """Adds the penalty of IRM to IB-ERM (information bottleneck).

    The loss is the mean risk over domains, plus `penalty` times the squared slope of each domain's risk (see `IRM`),
    plus `bottleneck` times the variance of the features within a domain (see `IBERM`). During the first `anneal`
    fraction of the steps the first factor is at most 1 and the second is 0. Afterwards the sum is divided by the
    largest factor that exceeds 1.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the squared slope, 100 in DomainBed.
        bottleneck: factor of the variance, 100 in DomainBed.
        anneal: fraction of the steps before the full factors apply; one tenth in DomainBed (500 of 5,000).

    Raises:
        ValueError: if a factor is negative, or `anneal` is outside [0, 1].

    References:
        Ahuja et al., "Invariance Principle Meets Information Bottleneck for Out-of-Distribution Generalization",
        NeurIPS 2021, section 4.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.1, 1e5)] = 100.0,
        bottleneck: Annotated[float, LogUniform(0.1, 1e5)] = 100.0,
        anneal: Annotated[float, LogUniform(2e-4, 1)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", bottleneck=bottleneck)
        self.penalty = Annealed(penalty, anneal)
        self.bottleneck = Annealed(bottleneck, anneal, before=0.0)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``irm`` and ``bottleneck``."""
        features = self.classifier.features(batch.inputs)
        risks = domain_risks(self.classifier, batch, slopes=True, embedded=self.classifier.dropout(features))
        return penalized(
            risks.values.mean(),
            batch.progress,
            irm=(self.penalty, risks.slopes.square().mean()),
            bottleneck=(self.bottleneck, feature_variance(features, batch.domains)),
        )
