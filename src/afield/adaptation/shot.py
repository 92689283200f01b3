"""SHOT's clustering: class vectors from weighted clusters of the features of the new place."""

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.adaptation.features import class_vectors, has_bias, head_inputs, with_class_vectors
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.validation import check_number


@ADAPTATIONS.register(
    "shot", reference="Liang, Hu and Feng, Do We Really Need to Access the Source Data? (SHOT), ICML 2020."
)
class SHOT(Adaptation):
    """Class vectors from weighted clusters of the features of the new place.

    New class vectors: SHOT's centroids, so that the nearest centroid by cosine distance is the prediction.

    The centroids are means of the features (with a 1 appended to each, if the head has a bias; on the unit sphere),
    weighted by predicted probability; then, `rounds` times, means over the examples nearest to each. A class without
    such examples keeps its vector; the paper does not predict it again. Of the paper this is the pseudo-labels alone:
    its training of the backbone by these labels and by information maximization is left out, so that frozen
    features are enough. Unlike in the paper, the class vectors are shrunk towards those before.

    Args:
        rounds: how often labels and centroids are refined; the paper does it once.
        pseudo_count: k, in images: with n images, the new class vectors have a weight of n / (n + k). 0 is the paper.

    Raises:
        InputError: a negative number of rounds or pseudo-count.

    References:
        Liang, Hu and Feng, "Do we really need to access the source data?", ICML 2020, equations 4 to 6.
    """

    def __init__(self, *, rounds: int = 1, pseudo_count: float = 100.0) -> None:
        check_number("rounds", rounds, 0, 100, whole=True)
        check_number("pseudo_count", pseudo_count, 0, 1e9)
        self.rounds = rounds
        self.pseudo_count = pseudo_count

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class."""
        vectors, features, biased = class_vectors(classifier), head_inputs(classifier, inputs), has_bias(classifier)
        with torch.no_grad():
            probabilities = classifier.objective.head(features).softmax(dim=1)
        units = F.normalize(_with_one(features) if biased else features, dim=1)
        present = probabilities.argmax(dim=1).unique()
        centroids = _centroids(probabilities[:, present], units)
        for _ in range(self.rounds):
            nearest = (units @ F.normalize(centroids, dim=1).T).argmax(dim=1)
            labels = F.one_hot(nearest, len(present)).to(units.dtype)
            centroids = torch.where(labels.any(dim=0)[:, None], _centroids(labels, units), centroids)
        found = F.pad(vectors, (0, int(biased)))
        found[present] = centroids
        found, weight = F.normalize(found, dim=1), len(inputs) / (len(inputs) + self.pseudo_count)
        own, bias = (found[:, :-1], found[:, -1]) if biased else (found, None)
        return with_class_vectors(classifier, own, bias, weight=weight)


def _with_one(features: Tensor) -> Tensor:
    return F.pad(features, (0, 1), value=1.0)


def _centroids(weights: Tensor, units: Tensor) -> Tensor:
    """Weights ``[N, K]``, features ``[N, D]`` -> the weighted mean of each class, ``[K, D]``."""
    return weights.T @ units / weights.sum(dim=0).clamp(min=1e-8)[:, None]
