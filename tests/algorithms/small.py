"""A small classifier of features in float64, and a batch of three domains for it."""

from __future__ import annotations

import torch
from torch import nn

from afield.algorithms import ALGORITHMS, Algorithm, Batch
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
TARGETS = torch.tensor([0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 1, 0])


def small(name: str, **options: float) -> tuple[Algorithm, Batch]:
    """The algorithm around 4 inputs, 5 features and 3 classes; 12 examples."""
    torch.manual_seed(0)
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    backbone = nn.Sequential(nn.Linear(4, 5), nn.Tanh())
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    algorithm = ALGORITHMS[name](classifier, [4, 4, 4], **options).double()
    return algorithm, Batch(inputs, TARGETS, DOMAINS, torch.arange(12), 0.9)


def parts(algorithm: Algorithm, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Features, logits, and the cross-entropy of each domain."""
    features = algorithm.classifier.features(batch.inputs)
    logits = algorithm.classifier.objective.logits(features)
    risks = [nn.functional.cross_entropy(logits[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
    return features, logits, risks


def gradient(loss: torch.Tensor, algorithm: Algorithm) -> torch.Tensor:
    """The gradient of all weights of the classifier, in one vector."""
    weights = list(algorithm.classifier.parameters())
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(w).flatten() if g is None else g.flatten() for g, w in zip(found, weights, strict=True)]
    )


def updated(algorithm: Algorithm, batch: Batch) -> torch.Tensor:
    """The gradient that one update leaves in the classifier, in one vector."""
    torch.manual_seed(0)
    algorithm.zero_grad()
    algorithm.update(algorithm, batch, torch.Tensor.backward)
    return torch.cat([weight.grad.flatten() for weight in algorithm.classifier.parameters()])
