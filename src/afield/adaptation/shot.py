"""SHOT: new class vectors from weighted clusters of the features of the new place."""

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
    """Replaces class vectors by centroids of weighted clusters of the new place's features.

    The prediction is the class of the nearest centroid by cosine distance. A centroid is the mean of the features on
    the unit sphere, weighted by the predicted probabilities of its class. If the head has a bias, a 1 is first appended
    to each feature. Then, `rounds` times, the centroids are replaced by the means of the examples nearest to each of
    them. A class that is not predicted for any image keeps its vector; the paper excludes such a class.

    Only the pseudo-labels of the paper are implemented. The paper also trains the backbone with these labels and with
    information maximization; without this training, frozen features are sufficient. Unlike in the paper, the class
    vectors are shrunk towards the previous class vectors.

    Args:
        rounds: number of refinements of labels and centroids; 1 in the paper.
        pseudo_count: k, in images: with n images, the new class vectors have weight n / (n + k). 0 is the paper.

    Raises:
        InputError: if the number of rounds or the pseudo-count is negative.

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
    """Weights ``[N, K]``, features ``[N, D]`` -> the weighted mean of the features for each class, ``[K, D]``."""
    return weights.T @ units / weights.sum(dim=0).clamp(min=1e-8)[:, None]
