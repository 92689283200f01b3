"""Stage two: the affine augmentor learns against a trained classifier."""

from __future__ import annotations

from afield.augment.learned.affine.game import AffineGame
from afield.augment.learned.affine.measures import measure
from afield.augment.learned.affine.settings import AffineSettings
from afield.augment.learned.loop import Examples
from afield.augment.learned.registry import AUGMENTORS, Method
from afield.evaluation import diagnose
from afield.training import Subset


def single_images(train: Subset) -> Examples:
    """Images ``[B, 3, H, W]`` in [0, 1] with their labels ``[B]``."""
    return Examples(len(train), lambda indices, generator: train.take(indices))


learn_affine = AUGMENTORS.add(
    "learned",
    Method(AffineSettings, AffineGame, single_images, measure, diagnose),
    summary="An affine transformation chosen for each image, by entropy as far as a teacher still recognizes it.",
    reference="Learned augmentation, seen as active learning (paper B).",
).learn
