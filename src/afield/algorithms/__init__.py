"""Algorithms: how an objective is trained on several domains, one file each, and how weights are averaged."""

from afield.algorithms.algorithm import Algorithm, Batch, Terms, total
from afield.algorithms.averaging import Averaging
from afield.algorithms.erm import ERM  # isort: split

from afield.algorithms.coral import CORAL
from afield.algorithms.domain_mixup import DomainMixup
from afield.algorithms.ema import EMA
from afield.algorithms.groupdro import GroupDRO
from afield.algorithms.irm import IRM
from afield.algorithms.lookahead import Lookahead
from afield.algorithms.mixstyle import MixStyle
from afield.algorithms.mldg import MLDG
from afield.algorithms.registry import ALGORITHMS, AVERAGINGS
from afield.algorithms.rsc import RSC
from afield.algorithms.swad import SWAD
from afield.algorithms.vrex import VREx

__all__ = [
    "ALGORITHMS",
    "AVERAGINGS",
    "CORAL",
    "EMA",
    "ERM",
    "IRM",
    "MLDG",
    "RSC",
    "SWAD",
    "Algorithm",
    "Averaging",
    "Batch",
    "DomainMixup",
    "GroupDRO",
    "Lookahead",
    "MixStyle",
    "Terms",
    "VREx",
    "total",
]
