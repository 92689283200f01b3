"""Algorithms: how an objective is trained on several domains, one file each, and how weights are averaged."""

from afield.algorithms.algorithm import Algorithm, Batch, Terms, total
from afield.algorithms.averaging import Averaging
from afield.algorithms.erm import ERM  # isort: split

from afield.algorithms.cdan import CDAN
from afield.algorithms.coral import CORAL
from afield.algorithms.crossgrad import CrossGrad
from afield.algorithms.dann import DANN
from afield.algorithms.deep_coral import DeepCORAL
from afield.algorithms.domain_mixup import DomainMixup
from afield.algorithms.ema import EMA
from afield.algorithms.epi_fcr import EpiFCR
from afield.algorithms.groupdro import GroupDRO
from afield.algorithms.irm import IRM
from afield.algorithms.jigen import JiGen
from afield.algorithms.l2a_ot import L2AOT
from afield.algorithms.lookahead import Lookahead
from afield.algorithms.masf import MASF
from afield.algorithms.mcc import MCC
from afield.algorithms.mcd import MCD
from afield.algorithms.metareg import MetaReg
from afield.algorithms.mixstyle import MixStyle
from afield.algorithms.mldg import MLDG
from afield.algorithms.mmd import MMD
from afield.algorithms.mmd_aae import MMDAAE
from afield.algorithms.mmld import MMLD
from afield.algorithms.registry import ALGORITHMS, AVERAGINGS
from afield.algorithms.rsc import RSC
from afield.algorithms.swad import SWAD
from afield.algorithms.vrex import VREx

__all__ = [
    "ALGORITHMS",
    "AVERAGINGS",
    "CDAN",
    "CORAL",
    "DANN",
    "EMA",
    "ERM",
    "IRM",
    "L2AOT",
    "MASF",
    "MCC",
    "MCD",
    "MLDG",
    "MMD",
    "MMDAAE",
    "MMLD",
    "RSC",
    "SWAD",
    "Algorithm",
    "Averaging",
    "Batch",
    "CrossGrad",
    "DeepCORAL",
    "DomainMixup",
    "EpiFCR",
    "GroupDRO",
    "JiGen",
    "Lookahead",
    "MetaReg",
    "MixStyle",
    "Terms",
    "VREx",
    "total",
]
