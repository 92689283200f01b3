"""Augmentations of batches ``[B, 3, H, W]``, float in [0, 1] or uint8, with a draw for each image."""

from afield.augment.augmix import AugMix
from afield.augment.autoaugment import AutoAugment
from afield.augment.chain import Chain, build_chain
from afield.augment.crop import RandomResizedCrop, normalize
from afield.augment.erasing import Cutout, RandomErasing
from afield.augment.jitter import ColorJitter
from afield.augment.mixing import CutMix, Mixup
from afield.augment.operations import apply_draws, describe, operate
from afield.augment.params import Draws
from afield.augment.randaugment import RandAugment
from afield.augment.registry import AUGMENTATIONS, Augmentation, MixingAugmentation, takes_bytes
from afield.augment.standard import Identity, Standard
from afield.augment.trivial import TrivialAugmentWide

__all__ = [
    "AUGMENTATIONS",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "Chain",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "Draws",
    "Identity",
    "MixingAugmentation",
    "Mixup",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "Standard",
    "TrivialAugmentWide",
    "apply_draws",
    "build_chain",
    "describe",
    "normalize",
    "operate",
    "takes_bytes",
]
