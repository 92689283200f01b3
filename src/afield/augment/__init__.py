"""Augmentations of batches ``[B, 3, H, W]``, float in [0, 1] or uint8, with parameters sampled for each image."""

from afield.augment.base import (
    AUGMENTATIONS as AUGMENTATIONS,
    Augmentation as Augmentation,
    MixingAugmentation as MixingAugmentation,
    RelabelingAugmentation as RelabelingAugmentation,
    Visit as Visit,
    change_targets as change_targets,
    sample_at as sample_at,
    takes_bytes as takes_bytes,
)
from afield.augment.chain import (
    Chain as Chain,
    build_chain as build_chain,
    chain_key as chain_key,
    chain_parts as chain_parts,
)
from afield.augment.color.jitter import ColorJitter as ColorJitter
from afield.augment.erasing import Cutout as Cutout, RandomErasing as RandomErasing
from afield.augment.flips import AlternatingFlip as AlternatingFlip
from afield.augment.mixing import CutMix as CutMix, Mixup as Mixup
from afield.augment.networks.affine_augmentor import (
    AffineAugmentor as AffineAugmentor,
    AugmentorConfig as AugmentorConfig,
)
from afield.augment.networks.cyclegan_augmentor import (
    CycleGanAugmentor as CycleGanAugmentor,
    CycleGanConfig as CycleGanConfig,
)
from afield.augment.networks.dagan_augmentor import DaganAugmentor as DaganAugmentor, DaganConfig as DaganConfig
from afield.augment.networks.network_file import NetworkAugmentation as NetworkAugmentation, read_saved as read_saved
from afield.augment.networks.translator import Translator as Translator, TranslatorConfig as TranslatorConfig
from afield.augment.params import in_words as in_words
from afield.augment.policies.augmix import AugMix as AugMix
from afield.augment.policies.autoaugment import AutoAugment as AutoAugment
from afield.augment.policies.operations import (
    Draws as Draws,
    apply_draws as apply_draws,
    describe as describe,
    operate as operate,
)
from afield.augment.policies.policy import Policy as Policy
from afield.augment.policies.randaugment import RandAugment as RandAugment
from afield.augment.policies.trivial import TrivialAugmentWide as TrivialAugmentWide
from afield.augment.random_conv import RandomConv as RandomConv
from afield.augment.spatial.affine import (
    AffineBounds as AffineBounds,
    AffineParams as AffineParams,
    compose as compose,
    decompose as decompose,
    identity_distance as identity_distance,
    warp_affine as warp_affine,
)
from afield.augment.spatial.crop import RandomResizedCrop as RandomResizedCrop
from afield.augment.spatial.random_affine import RandomAffine as RandomAffine
from afield.augment.spatial.translate import Translate as Translate
from afield.augment.standard import Identity as Identity, Standard as Standard
