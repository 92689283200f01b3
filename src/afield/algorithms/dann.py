"""DANN: features from which a discriminator cannot distinguish the training domains from the new place."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.discriminator import Discriminator
from afield.algorithms.parts.reversal import ramp
from afield.algorithms.parts.target import features_of_both
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register("dann", reference="Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.")
class DANN(Algorithm):
    """Learns features from which a discriminator cannot distinguish training domains and new place.

    The loss is the objective plus the loss of a discriminator between the training domains and the unlabeled new place.
    The discriminator's gradient is reversed on its way to the backbone, with a factor that grows from 0 to `adversary`
    by ``2 / (1 + exp(-10 p)) - 1``, where p is the fraction of completed steps.

    The paper has one source domain; here all training domains together are the source. As in the paper, both hidden
    layers of the discriminator have 1024 units; the dropout follows the authors of CDAN. The paper's factor is 1, for a
    pretrained backbone; in its successors' code, the learning rate of the backbone is a tenth of the discriminator's.
    Here, all parts have the same learning rate, and a factor of 0.1 replaces this tenth. With a factor of 0.3, a
    network with random initial weights did not learn the digits without `wall`.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        adversary: largest factor of the reversed gradient; see above.
        hidden: units in each hidden layer of the discriminator.

    Raises:
        ValueError: if the factor is negative.

    References:
        Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, equations 13 to 18.
    """

    needs = "layers"
    soft_targets = False
    uses_target = True

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        adversary: Annotated[float, LogUniform(0.01, 100)] = 0.1,
        hidden: int = 1024,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        self.discriminator = Discriminator(classifier.objective.head.in_features, hidden)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain``, the loss of the discriminator."""
        source, target = features_of_both(self.classifier, batch)
        of_source, of_target = self.discriminator.losses(source, target, self.adversary * ramp(batch.progress))
        return {
            "objective": self.classifier.objective(self.classifier.dropout(source), batch.targets),
            "domain": (of_source.mean() + of_target.mean()) / 2,
        }
