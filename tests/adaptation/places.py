"""Classifiers on ready features, and a new place where the features have moved."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from afield.adaptation import SourceStatistics
from afield.classifier import Classifier
from afield.heads import HEADS
from afield.models import ResNet8
from afield.objective import Objective


def head_classifier(weight: Tensor, bias: Tensor | None = None, head: str = "linear") -> Classifier:
    """A classifier on ready features ``[N, D]`` with these class vectors ``[K, D]``."""
    objective = Objective(HEADS[head](weight.shape[1], len(weight)), {"cross_entropy": 1.0})
    with torch.no_grad():
        objective.head.weight.copy_(weight)
        if head == "linear":
            objective.head.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return Classifier(nn.Identity(), objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0).eval()


def network() -> Classifier:
    """A small network with batch normalization, for images, whose statistics are not those of a start."""
    torch.manual_seed(0)
    backbone = ResNet8(width=4)
    objective = Objective(HEADS["linear"](16, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    classifier.train()
    with torch.no_grad():
        for _ in range(30):
            classifier.logits(torch.rand(16, 3, 12, 12))
    return classifier.eval()


def source_of(features: Tensor, num_classes: int = 2) -> SourceStatistics:
    """One domain, whose labels do not matter."""
    zeros = torch.zeros(len(features), dtype=torch.long)
    return SourceStatistics.of(features, zeros, zeros, ("here",), num_classes)


def state(classifier: Classifier) -> dict[str, Tensor]:
    """A copy of the state."""
    return {name: value.clone() for name, value in classifier.state_dict().items()}
