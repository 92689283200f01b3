"""Adapt a trained classifier to a new place by unlabeled images of it, and forecast its accuracy there."""

from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.adaptation.statistics import FeatureStatistics, shrink

__all__ = ["ADAPTATIONS", "Adaptation", "FeatureStatistics", "SourceStatistics", "shrink"]
