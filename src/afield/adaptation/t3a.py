"""T3A: new class vectors from the most certain features of the new place."""

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.adaptation.features import class_vectors, head_inputs, with_class_vectors
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.algorithms.parts.target import entropy
from afield.classifier import Classifier
from afield.validation import check_number


@ADAPTATIONS.register(
    "t3a", reference="Iwasawa and Matsuo, Test-Time Classifier Adjustment Module (T3A), NeurIPS 2021."
)
class T3A(Adaptation):
    """Replaces class vectors by the means of the most certain features of the new place.

    Each new class vector is the mean of the support set of its class, on the unit sphere. The support set contains the
    class vector and the features that are predicted as this class; only the elements with the lowest entropy are kept.
    The bias is omitted, as in the paper.

    The paper adds features one by one as they arrive and predicts each one with the current support sets. Here, all
    images of the new place are available from the start. Two things are not in the paper. The new class vectors are
    scaled to the mean length of the previous ones, so that confidences keep their scale. Class vectors and bias are
    shrunk towards the previous ones, because a few images do not show all classes.

    Args:
        supports: M, the largest size of a support set; 0 keeps all. The paper selects from 1, 5, 20, 50, 100 and all.
        pseudo_count: k, in images: with n images, the new class vectors have weight n / (n + k). 0 is the paper.

    Raises:
        InputError: if the size or the pseudo-count is negative.

    References:
        Iwasawa and Matsuo, "Test-time classifier adjustment module for model-agnostic domain generalization", NeurIPS
        2021, equations 2 to 5.
    """

    def __init__(self, *, supports: int = 100, pseudo_count: float = 100.0) -> None:
        check_number("supports", supports, 0, 1e9, whole=True)
        check_number("pseudo_count", pseudo_count, 0, 1e9)
        self.supports = supports
        self.pseudo_count = pseudo_count

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class."""
        vectors = class_vectors(classifier)
        examples = torch.cat([vectors, head_inputs(classifier, inputs)])
        with torch.no_grad():
            logits = classifier.objective.head(examples)
        predicted, uncertain = logits.argmax(dim=1), entropy(logits)
        members = [(predicted == label).nonzero().squeeze(1) for label in range(len(vectors))]
        if self.supports:
            members = [found[uncertain[found].argsort(stable=True)[: self.supports]] for found in members]
        units = F.normalize(examples, dim=1)
        means = torch.stack([units[found].mean(dim=0) if len(found) else vectors[k] for k, found in enumerate(members)])
        weight = len(inputs) / (len(inputs) + self.pseudo_count)
        return with_class_vectors(classifier, F.normalize(means, dim=1), weight=weight)
