"""Shared parts of algorithms that train with unlabeled inputs of the new place."""

import torch
from torch import Tensor

from afield.algorithms.algorithm import Batch
from afield.classifier import Classifier


def features_of_both(classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
    """Features ``[B, D]`` of the inputs and of the target, from a single forward pass with shared batch statistics."""
    assert batch.target is not None
    source, target = classifier.features(torch.cat([batch.inputs, batch.target])).split(len(batch.inputs))
    return source, target


def entropy(logits: Tensor) -> Tensor:
    """Logits ``[B, K]`` -> the entropy of each prediction in nats, ``[B]``."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)
