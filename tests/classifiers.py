"""Classifiers that are small enough to follow by hand."""

from __future__ import annotations

import torch
from torch import nn

from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh())
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    return Classifier(backbone, objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0)
