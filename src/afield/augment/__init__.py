"""Augmentations of batches ``[B, 3, H, W]``, float in [0, 1] or uint8, with a draw for each image."""

from afield.augment.affine import AffineBounds, Decomposition, compose, decompose, identity_distance, warp_affine
from afield.augment.affine_params import AffineParams
from afield.augment.augmentor import AffineAugmentor, AugmentorConfig
from afield.augment.augmix import AugMix
from afield.augment.autoaugment import AutoAugment
from afield.augment.chain import Chain, build_chain, chain_key
from afield.augment.crop import RandomResizedCrop, normalize
from afield.augment.dagan import DaganAugmentor, DaganConfig, DaganParams
from afield.augment.describing import in_words
from afield.augment.erasing import Cutout, RandomErasing
from afield.augment.following import AlternatingFlip, FollowingAugmentation, Mirrored, Visit, sample_at
from afield.augment.jitter import ColorJitter
from afield.augment.mixing import CutMix, Mixup
from afield.augment.operations import apply_draws, describe, operate
from afield.augment.params import Draws
from afield.augment.policy import Policy
from afield.augment.randaugment import RandAugment
from afield.augment.random_affine import RandomAffine
from afield.augment.registry import AUGMENTATIONS, Augmentation, MixingAugmentation, SavedAugmentation, takes_bytes
from afield.augment.saved import read_saved
from afield.augment.standard import Identity, Standard
from afield.augment.translate import Shifts, Translate
from afield.augment.trivial import TrivialAugmentWide

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
    "FollowingAugmentation",
    "Identity",
    "Mirrored",
    "MixingAugmentation",
    "Mixup",
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
    "normalize",
    "operate",
    "read_saved",
    "sample_at",
    "takes_bytes",
    "warp_affine",
]
