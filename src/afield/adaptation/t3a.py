"""T3A: class vectors from the most certain features of the new place."""

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.adaptation.entropy import entropy
from afield.adaptation.features import class_vectors, head_inputs, with_class_vectors
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.validation import check_number


@ADAPTATIONS.register(
    "t3a", reference="Iwasawa and Matsuo, Test-Time Classifier Adjustment Module (T3A), NeurIPS 2021."
)
class T3A(Adaptation):
    """Class vectors from the most certain features of the new place.

    New class vectors: each is the mean of its class's support set, on the unit sphere.

    The support set of a class holds its class vector and the features that are predicted to be of the class; those of
    lowest entropy stay. The paper adds features as they arrive, and so predicts each with the sets of that moment;
    here all images of the new place are there at once. The bias is left out, as in the paper. Two things are not in
    the paper: the class vectors have the mean length of those before, so that confidences keep their scale; and they
    are shrunk towards those before, bias included, because a few images do not show all classes.

    Args:
        supports: M, the largest size of a support set; 0 keeps all. The paper chooses among 1, 5, 20, 50, 100 and all.
        pseudo_count: k, in images: with n images, the new class vectors have a weight of n / (n + k). 0 is the paper.

    Raises:
        InputError: a negative size or pseudo-count.

    References:
        Iwasawa and Matsuo, "Test-time classifier adjustment module for model-agnostic domain generalization",
        NeurIPS 2021, equations 2 to 5.
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
