"""Heads: features ``[B, D]``, targets ``[B]`` or None -> logits ``[B, K]``."""

from afield.heads.arcface import ArcFaceHead
from afield.heads.cosface import CosFaceHead
from afield.heads.cosine import CosineHead
from afield.heads.linear import LinearHead
from afield.heads.neck import Neck
from afield.heads.registry import HEADS
from afield.heads.scale import reachable_probability, scale_floor
from afield.heads.sphereface import SphereFaceHead

__all__ = [
    "HEADS",
    "ArcFaceHead",
    "CosFaceHead",
    "CosineHead",
    "LinearHead",
    "Neck",
    "SphereFaceHead",
    "reachable_probability",
    "scale_floor",
]
