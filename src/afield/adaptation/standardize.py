"""Standardizes features by the mean and standard deviation of the new place."""

import copy

from torch import Tensor

from afield.adaptation.features import backbone_features
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.adaptation.statistics import FeatureStatistics, shrink
from afield.classifier import Classifier, FeatureNorm
from afield.validation import check_number


@ADAPTATIONS.register("standardize", reference="Li et al., Revisiting Batch Normalization (AdaBN), 2016.")
class Standardize(Adaptation):
    """Standardizes features by the mean and standard deviation of the new place.

    If the classifier was trained on features that were standardized by domain, it receives features that are
    standardized by the statistics of the new place. For any other classifier, the standardized features are then scaled
    and shifted to the mean and standard deviation of the training images.

    Args:
        pseudo_count: k, in images: weight of the statistics of all training images; see `afield.adaptation.shrink`.

    Raises:
        InputError: if the pseudo-count is negative.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016 (AdaBN), here on the features
        of the backbone. Schneider et al., NeurIPS 2020, equation 1, for the pseudo-count.
    """

    def __init__(self, *, pseudo_count: float = 10.0) -> None:
        check_number("pseudo_count", pseudo_count, 0, 1e9)
        self.pseudo_count = pseudo_count

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class."""
        features, known = backbone_features(classifier, inputs), source.pooled
        found = shrink(FeatureStatistics.of(features), known, self.pseudo_count)
        adapted = copy.deepcopy(classifier)
        mean, std = found.mean, found.std
        if adapted.feature_norm is None:
            adapted.feature_norm = FeatureNorm(features.shape[1])
            std = std / known.std
            mean = mean - known.mean * std
        adapted.feature_norm.mean.copy_(mean)
        adapted.feature_norm.std.copy_(std)
        return adapted
