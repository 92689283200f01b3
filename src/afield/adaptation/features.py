"""What methods on ready features need of a classifier: its features, its class vectors, and a copy with new ones."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from afield.classifier import Classifier
from afield.pixels import as_floats

BATCH = 64


def batches(inputs: Tensor) -> Iterator[Tensor]:
    """Inputs ``[N, ...]`` in order, `BATCH` at a time, images as floats in [0, 1]."""
    return map(as_floats, inputs.split(BATCH))


def backbone_features(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Images or ready features -> the features of the backbone ``[N, D]``, float32."""
    if inputs.ndim == 2:
        return inputs.float()
    with torch.no_grad():
        return torch.cat([classifier.backbone_features(batch).float() for batch in batches(inputs)])


def head_inputs(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Images or ready features -> what the head is given, ``[N, D]``: features behind feature norm and neck."""
    features, neck = backbone_features(classifier, inputs), classifier.objective.neck
    with torch.no_grad():
        features = features if classifier.feature_norm is None else classifier.feature_norm(features)
        return features if neck is None else neck(features)


def class_vectors(classifier: Classifier) -> Tensor:
    """The head's vector of each class, ``[K, D]``; the mean of a class's vectors where the head has several a class."""
    weight: Tensor = classifier.objective.head.weight
    return weight.detach().unflatten(0, (classifier.num_classes, -1)).mean(dim=1)


def has_bias(classifier: Classifier) -> bool:
    """Whether the head adds a number to each class's logit; heads on the unit sphere do not."""
    return getattr(classifier.objective.head, "bias", None) is not None


def with_class_vectors(
    classifier: Classifier, vectors: Tensor, bias: Tensor | None = None, *, weight: float = 1.0
) -> Classifier:
    """A copy of the classifier with other class vectors ``[K, D]`` and bias ``[K]`` (0 unless given).

    They are given the mean length of the classifier's own, so that confidences keep their scale, and this weight; the
    classifier's own have the rest.
    """
    adapted = copy.deepcopy(classifier)
    head, length = adapted.objective.head, class_vectors(classifier).norm(dim=1).mean()
    with torch.no_grad():
        head.weight.lerp_(length * vectors.repeat_interleave(len(head.weight) // len(vectors), dim=0), weight)
        if has_bias(adapted):
            head.bias.lerp_(torch.zeros(len(vectors)) if bias is None else length * bias, weight)
    return adapted
