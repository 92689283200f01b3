"""Augmentations of batches ``[B, 3, H, W]``, float in [0, 1] or uint8, with a draw for each image."""

from afield.augment.chain import Chain, build_chain, chain_key
from afield.augment.color.jitter import ColorJitter
from afield.augment.epoch_aware import EpochAwareAugmentation, Visit, sample_at
from afield.augment.erasing import Cutout, RandomErasing
from afield.augment.flips import AlternatingFlip, Mirrored
from afield.augment.mixing import CutMix, Mixup
from afield.augment.networks.affine_augmentor import AffineAugmentor, AugmentorConfig
from afield.augment.networks.dagan_augmentor import DaganAugmentor, DaganConfig, DaganParams
from afield.augment.networks.network_file import NetworkAugmentation
from afield.augment.networks.saved import read_saved
from afield.augment.params import in_words
from afield.augment.policies.augmix import AugMix
from afield.augment.policies.autoaugment import AutoAugment
from afield.augment.policies.operations import Draws, apply_draws, describe, operate
from afield.augment.policies.policy import Policy
from afield.augment.policies.randaugment import RandAugment
from afield.augment.policies.trivial import TrivialAugmentWide
from afield.augment.registry import AUGMENTATIONS, Augmentation, MixingAugmentation, SavedAugmentation, takes_bytes
from afield.augment.spatial.affine import (
    AffineBounds,
    Decomposition,
    compose,
    decompose,
    identity_distance,
    warp_affine,
)
from afield.augment.spatial.affine_params import AffineParams
from afield.augment.spatial.crop import RandomResizedCrop
from afield.augment.spatial.random_affine import RandomAffine
from afield.augment.spatial.translate import Shifts, Translate
from afield.augment.standard import Identity, Standard

__all__ = [
    "AUGMENTATIONS",
    "AffineAugmentor",
    "AffineBounds",
    "AffineParams",
    "AlternatingFlip",
    "AugMix",
    "Augmentation",
    "AugmentorConfig",
    "AutoAugment",
    "Chain",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "DaganAugmentor",
    "DaganConfig",
    "DaganParams",
    "Decomposition",
    "Draws",
    "EpochAwareAugmentation",
    "Identity",
    "Mirrored",
    "MixingAugmentation",
    "Mixup",
    "NetworkAugmentation",
    "Policy",
    "RandAugment",
    "RandomAffine",
    "RandomErasing",
    "RandomResizedCrop",
    "SavedAugmentation",
    "Shifts",
    "Standard",
    "Translate",
    "TrivialAugmentWide",
    "Visit",
    "apply_draws",
    "build_chain",
    "chain_key",
    "compose",
    "decompose",
    "describe",
    "identity_distance",
    "in_words",
    "operate",
    "read_saved",
    "sample_at",
    "takes_bytes",
    "warp_affine",
]
