"""DANN: features that do not tell the training domains from the new place."""

from collections.abc import Sequence

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.discriminator import Discriminator
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.reversal import ramp
from afield.algorithms.target import features_of_both
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register("dann", reference="Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.")
class DANN(Algorithm):
    """Trains features that a discriminator cannot tell from those of the unlabeled new place.

    The objective, and a discriminator between training domains and new place that the features deceive.

    The discriminator's gradient is reversed on its way to the backbone, with a factor that grows from 0 to `adversary`
    by ``2 / (1 + exp(-10 p)) - 1``, where p is the fraction of the steps that are done.

    The paper has one source domain; here all training domains together are the source. Its discriminator has 1024
    units in both hidden layers; the dropout is that of the authors of CDAN. The paper's factor is 1, for a pretrained
    backbone, which in its successors' code learns at a tenth of the discriminator's rate. Here one rate is for all,
    and a factor of 0.1 takes the place of the tenth. With 0.3, a network that starts from random weights did not learn
    the digits without `wall`.

    Args:
        classifier: trained in place.
        domain_sizes: not used.
        adversary: largest factor of the reversed gradient; see above.
        hidden: units in each hidden layer of the discriminator.

    Raises:
        ValueError: a negative factor.

    References:
        Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, equations 13 to 18.
    """

    needs = "images"
    soft_targets = False
    uses_target = True

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, adversary: float = 0.1, hidden: int = 1024
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        self.discriminator = Discriminator(classifier.objective.head.in_features, hidden)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain``, what the discriminator loses."""
        source, target = features_of_both(self.classifier, batch)
        of_source, of_target = self.discriminator.losses(source, target, self.adversary * ramp(batch.progress))
        return {
            "objective": self.classifier.objective(self.classifier.dropout(source), batch.targets),
            "domain": (of_source.mean() + of_target.mean()) / 2,
        }
