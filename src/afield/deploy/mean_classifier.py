"""The mean of the probabilities of several classifiers, as one classifier."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afield.classifier import Classifier
from afield.objective import Objective


def mean_classifier(classifiers: Sequence[Classifier], temperatures: Sequence[float]) -> Classifier:
    """Average the probabilities of classifiers with the same classes, each with a temperature.

    The features are those of all classifiers, side by side. The logits are the logarithms of the mean probabilities, so
    that their softmax, with temperature 1, is the mean. This is how EoA joins models (Arpit et al., "Ensemble of
    Averages", NeurIPS 2022, equation 2).
    """
    head = _MeanHead([classifier.objective for classifier in classifiers], temperatures)
    objective = Objective(head, {"cross_entropy": 1.0})
    return Classifier(_Features(classifiers), objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0).eval()


class _Features(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] -> the features of all classifiers side by side, ``[B, sum of D]``."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([classifier.features(images) for classifier in self.classifiers], dim=1)  # type: ignore[operator]


class _MeanHead(nn.Module):
    """Features of all classifiers ``[B, sum of D]`` -> the logarithms of the mean probabilities, ``[B, K]``."""

    def __init__(self, objectives: Sequence[Objective], temperatures: Sequence[float]) -> None:
        super().__init__()
        self.objectives = nn.ModuleList(objectives)
        self.temperatures = tuple(temperatures)
        self.widths = tuple(objective.head.in_features for objective in objectives)
        self.in_features, self.num_classes = sum(self.widths), objectives[0].head.num_classes

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        parts = zip(self.objectives, features.split(self.widths, dim=1), self.temperatures, strict=True)
        logits = [objective.logits(part) / temperature for objective, part, temperature in parts]  # type: ignore[operator]
        return torch.stack(logits).log_softmax(dim=2).logsumexp(dim=0) - math.log(len(self.widths))
