"""Adapts a trained classifier to a new place with unlabeled images, and forecasts its accuracy there."""

from afield.adaptation.batch_norm import BatchNorm as BatchNorm
from afield.adaptation.chain import Chain as Chain, build_adaptation as build_adaptation, with_backbone as with_backbone
from afield.adaptation.registry import ADAPTATIONS as ADAPTATIONS, Adaptation as Adaptation
from afield.adaptation.shot import SHOT as SHOT
from afield.adaptation.source import SourceStatistics as SourceStatistics
from afield.adaptation.standardize import Standardize as Standardize
from afield.adaptation.statistics import FeatureStatistics as FeatureStatistics, shrink as shrink
from afield.adaptation.t3a import T3A as T3A
from afield.adaptation.tent import Tent as Tent
