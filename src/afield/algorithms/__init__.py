"""Training algorithms for several domains, one file each, and weight averaging around them."""

from afield.algorithms.algorithm import Algorithm as Algorithm, Batch as Batch, Terms as Terms, total as total
from afield.algorithms.averaging import Averaging as Averaging
from afield.algorithms.erm import ERM as ERM  # isort: split

from afield.algorithms.cdan import CDAN as CDAN
from afield.algorithms.coral import CORAL as CORAL
from afield.algorithms.crossgrad import CrossGrad as CrossGrad
from afield.algorithms.dann import DANN as DANN
from afield.algorithms.deep_coral import DeepCORAL as DeepCORAL
from afield.algorithms.domain_mixup import DomainMixup as DomainMixup
from afield.algorithms.ema import EMA as EMA
from afield.algorithms.epi_fcr import EpiFCR as EpiFCR
from afield.algorithms.groupdro import GroupDRO as GroupDRO
from afield.algorithms.irm import IRM as IRM
from afield.algorithms.jigen import JiGen as JiGen
from afield.algorithms.l2a_ot import L2AOT as L2AOT
from afield.algorithms.learning_loss import LearningLoss as LearningLoss, ranking_loss as ranking_loss
from afield.algorithms.lookahead import Lookahead as Lookahead
from afield.algorithms.masf import MASF as MASF
from afield.algorithms.mcc import MCC as MCC
from afield.algorithms.mcd import MCD as MCD
from afield.algorithms.metareg import MetaReg as MetaReg
from afield.algorithms.mixstyle import MixStyle as MixStyle
from afield.algorithms.mldg import MLDG as MLDG
from afield.algorithms.mmd import MMD as MMD
from afield.algorithms.mmd_aae import MMDAAE as MMDAAE
from afield.algorithms.mmld import MMLD as MMLD
from afield.algorithms.registry import ALGORITHMS as ALGORITHMS, AVERAGINGS as AVERAGINGS
from afield.algorithms.rsc import RSC as RSC
from afield.algorithms.swad import SWAD as SWAD
from afield.algorithms.vrex import VREx as VREx
