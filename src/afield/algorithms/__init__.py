"""Training algorithms for several domains, one file each, and weight averaging around them."""

from afield.algorithms.algorithm import Algorithm as Algorithm, Batch as Batch, Terms as Terms, total as total
from afield.algorithms.averagings.averaging import Averaging as Averaging
from afield.algorithms.erm import ERM as ERM  # isort: split

from afield.algorithms.adrmx import ADRMX as ADRMX
from afield.algorithms.amplitude_mix import AmplitudeMix as AmplitudeMix
from afield.algorithms.and_mask import ANDMask as ANDMask
from afield.algorithms.arm import ARM as ARM
from afield.algorithms.averagings.ema import EMA as EMA
from afield.algorithms.averagings.lookahead import Lookahead as Lookahead
from afield.algorithms.averagings.sma import SMA as SMA
from afield.algorithms.averagings.swad import SWAD as SWAD
from afield.algorithms.cad import CAD as CAD, CondCAD as CondCAD
from afield.algorithms.causirl import CausIRLCORAL as CausIRLCORAL, CausIRLMMD as CausIRLMMD
from afield.algorithms.cdan import CDAN as CDAN
from afield.algorithms.cdann import CDANN as CDANN
from afield.algorithms.coral import CORAL as CORAL
from afield.algorithms.crossgrad import CrossGrad as CrossGrad
from afield.algorithms.dann import DANN as DANN
from afield.algorithms.ddaig import DDAIG as DDAIG
from afield.algorithms.deep_coral import DeepCORAL as DeepCORAL
from afield.algorithms.domain_dann import DomainDANN as DomainDANN
from afield.algorithms.domain_mixup import DomainMixup as DomainMixup
from afield.algorithms.domain_mmd import DomainMMD as DomainMMD
from afield.algorithms.efdm import EFDM as EFDM
from afield.algorithms.epi_fcr import EpiFCR as EpiFCR
from afield.algorithms.eqrm import EQRM as EQRM
from afield.algorithms.fish import Fish as Fish
from afield.algorithms.fishr import Fishr as Fishr
from afield.algorithms.groupdro import GroupDRO as GroupDRO
from afield.algorithms.ib_erm import IBERM as IBERM
from afield.algorithms.ib_irm import IBIRM as IBIRM
from afield.algorithms.iga import IGA as IGA
from afield.algorithms.irm import IRM as IRM
from afield.algorithms.jigen import JiGen as JiGen
from afield.algorithms.l2a_ot import L2AOT as L2AOT
from afield.algorithms.learning_loss import LearningLoss as LearningLoss, ranking_loss as ranking_loss
from afield.algorithms.lp_ft import LPFT as LPFT
from afield.algorithms.masf import MASF as MASF
from afield.algorithms.mcc import MCC as MCC
from afield.algorithms.mcd import MCD as MCD
from afield.algorithms.metareg import MetaReg as MetaReg
from afield.algorithms.miro import MIRO as MIRO
from afield.algorithms.mixstyle import MixStyle as MixStyle
from afield.algorithms.mldg import MLDG as MLDG
from afield.algorithms.mmd import MMD as MMD
from afield.algorithms.mmd_aae import MMDAAE as MMDAAE
from afield.algorithms.mmld import MMLD as MMLD
from afield.algorithms.mtl import MTL as MTL
from afield.algorithms.rdm import RDM as RDM
from afield.algorithms.registry import ALGORITHMS as ALGORITHMS, AVERAGINGS as AVERAGINGS
from afield.algorithms.rsc import RSC as RSC
from afield.algorithms.sagm import SAGM as SAGM
from afield.algorithms.sagnet import SagNet as SagNet
from afield.algorithms.sam import SAM as SAM
from afield.algorithms.sand_mask import SANDMask as SANDMask
from afield.algorithms.sd import SD as SD
from afield.algorithms.selfreg import SelfReg as SelfReg
from afield.algorithms.transfer import Transfer as Transfer
from afield.algorithms.trm import TRM as TRM
from afield.algorithms.urm import URM as URM
from afield.algorithms.vrex import VREx as VREx
