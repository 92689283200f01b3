"""Access to the features and class vectors of a classifier, for adaptations."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from afield.classifier import Classifier
from afield.pixels import as_floats

BATCH = 64


def batches(inputs: Tensor) -> Iterator[Tensor]:
    """Split inputs ``[N, ...]`` into batches of `BATCH`, in order, with images as floats in [0, 1]."""
    return map(as_floats, inputs.split(BATCH))


def backbone_features(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Images or precomputed features -> the features of the backbone ``[N, D]``, float32."""
    if inputs.ndim == 2:
        return inputs.float()
    with torch.no_grad():
        return torch.cat([classifier.backbone_features(batch).float() for batch in batches(inputs)])


def head_inputs(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Images or precomputed features -> the inputs of the head ``[N, D]``: features after feature norm and neck."""
    features, neck = backbone_features(classifier, inputs), classifier.objective.neck
    with torch.no_grad():
        features = features if classifier.feature_norm is None else classifier.feature_norm(features)
        return features if neck is None else neck(features)


def class_vectors(classifier: Classifier) -> Tensor:
    """The class vectors of the head, ``[K, D]``; if the head has several vectors per class, their mean."""
    weight: Tensor = classifier.objective.head.weight
    return weight.detach().unflatten(0, (classifier.num_classes, -1)).mean(dim=1)


def has_bias(classifier: Classifier) -> bool:
    """Whether the head has a bias. Heads on the unit sphere have none."""
    return getattr(classifier.objective.head, "bias", None) is not None


def with_class_vectors(
    classifier: Classifier, vectors: Tensor, bias: Tensor | None = None, *, weight: float = 1.0
) -> Classifier:
    """Return a copy of the classifier with other class vectors ``[K, D]`` and another bias ``[K]`` (0 by default).

    The new class vectors are scaled to the mean length of the previous ones, so that confidences keep their scale. Both
    are then averaged: the new ones have weight `weight`, the previous ones ``1 - weight``.
    """
    adapted = copy.deepcopy(classifier)
    head, length = adapted.objective.head, class_vectors(classifier).norm(dim=1).mean()
    with torch.no_grad():
        head.weight.lerp_(length * vectors.repeat_interleave(len(head.weight) // len(vectors), dim=0), weight)
        if has_bias(adapted):
            head.bias.lerp_(torch.zeros(len(vectors)) if bias is None else length * bias, weight)
    return adapted
