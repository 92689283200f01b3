"""Heads: features ``[B, D]``, targets ``[B]`` or None -> logits ``[B, K]``."""

from typing import TYPE_CHECKING

from afield.deprecated import renamed_attributes
from afield.heads.adacos import AdaCosHead
from afield.heads.arcface import ArcFaceHead
from afield.heads.combined import CombinedMarginHead
from afield.heads.cosface import CosFaceHead
from afield.heads.cosine import CosineHead
from afield.heads.linear import LinearHead
from afield.heads.neck import Neck
from afield.heads.partial_fc import PartialFCHead
from afield.heads.registry import HEADS
from afield.heads.scale import reachable_probability, scale_floor
from afield.heads.sharded import ShardedHead
from afield.heads.sphereface import SphereFaceHead
from afield.heads.subcenter import SubCenterArcFaceHead

__all__ = [
    "HEADS",
    "AdaCosHead",
    "ArcFaceHead",
    "CombinedMarginHead",
    "CosFaceHead",
    "CosineHead",
    "LinearHead",
    "Neck",
    "PartialFCHead",
    "ShardedHead",
    "SphereFaceHead",
    "SubCenterArcFaceHead",
    "reachable_probability",
    "scale_floor",
]

if not TYPE_CHECKING:
    __getattr__ = renamed_attributes(__name__)
