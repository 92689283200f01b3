"""Adapt a trained classifier to a new place by unlabeled images of it, and forecast its accuracy there."""

from afield.adaptation.batch_norm import BatchNorm
from afield.adaptation.chain import Chain, build_adaptation, with_backbone
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.shot import SHOT
from afield.adaptation.source import SourceStatistics
from afield.adaptation.standardize import Standardize
from afield.adaptation.statistics import FeatureStatistics, shrink
from afield.adaptation.t3a import T3A
from afield.adaptation.tent import Tent

__all__ = [
    "ADAPTATIONS",
    "SHOT",
    "T3A",
    "Adaptation",
    "BatchNorm",
    "Chain",
    "FeatureStatistics",
    "SourceStatistics",
    "Standardize",
    "Tent",
    "build_adaptation",
    "shrink",
    "with_backbone",
]
