"""AdaBN: estimates batch-normalization statistics from the images of the new place."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from afield.adaptation.features import batches
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.adaptation.statistics import FeatureStatistics, shrink
from afield.classifier import Classifier
from afield.errors import InputError
from afield.validation import check_number


@ADAPTATIONS.register("batch_norm", reference="Li et al., Revisiting Batch Normalization (AdaBN), 2016.")
class BatchNorm(Adaptation):
    """Estimates batch-normalization statistics from the images of the new place.

    The mean and variance of every batch-normalization layer of the backbone are shrunk towards the layer's own
    statistics. The images pass through the network in batches. Each layer normalizes with the shrunk statistics of all
    batches so far and finally keeps the statistics of all batches.

    Args:
        pseudo_count: k, in images, for each layer; see `afield.adaptation.shrink`.

    Raises:
        InputError: if the pseudo-count is negative.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016 (AdaBN).
        Schneider et al., NeurIPS 2020, equation 1, for the pseudo-count.
    """

    needs = "images"

    def __init__(self, *, pseudo_count: float = 30.0) -> None:
        check_number("pseudo_count", pseudo_count, 0, 1e9)
        self.pseudo_count = pseudo_count

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class.

        Raises:
            InputError: if the backbone has no batch normalization.
        """
        adapted = copy.deepcopy(classifier).eval()
        layers = [module for module in adapted.backbone.modules() if isinstance(module, _BatchNorm)]
        if not layers:
            raise InputError("batch_norm needs a backbone with batch normalization")
        hooks = [layer.register_forward_pre_hook(_Follow(layer, self.pseudo_count)) for layer in layers]
        with torch.no_grad():
            for batch in batches(inputs):
                adapted.backbone_features(batch)
        for hook in hooks:
            hook.remove()
        return adapted


class _Follow:
    """A forward pre-hook that updates the statistics of a layer with its inputs so far, before the layer normalizes."""

    def __init__(self, layer: _BatchNorm, pseudo_count: float) -> None:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        self.known = FeatureStatistics(layer.running_mean.clone(), layer.running_var.clone(), 0)
        self.pseudo_count = pseudo_count
        self.seen: list[FeatureStatistics] = []

    def __call__(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        (features,) = given
        values = features.movedim(1, -1).flatten(0, -2)
        found = FeatureStatistics.of(values)
        self.seen.append(FeatureStatistics(found.mean, found.variance, len(features)))
        shrunk = shrink(FeatureStatistics.pooled(self.seen), self.known, self.pseudo_count)
        layer.running_mean.copy_(shrunk.mean)  # type: ignore[operator]
        layer.running_var.copy_(shrunk.variance)  # type: ignore[operator]
