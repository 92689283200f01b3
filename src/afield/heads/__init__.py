"""Heads: modules that map features ``[B, D]`` and optional targets ``[B]`` to logits ``[B, K]``."""

from typing import TYPE_CHECKING

from afield.deprecated import renamed_attributes
from afield.heads.adacos import AdaCosHead as AdaCosHead
from afield.heads.arcface import ArcFaceHead as ArcFaceHead
from afield.heads.combined import CombinedMarginHead as CombinedMarginHead
from afield.heads.cosface import CosFaceHead as CosFaceHead
from afield.heads.cosine import CosineHead as CosineHead
from afield.heads.linear import LinearHead as LinearHead
from afield.heads.neck import Neck as Neck
from afield.heads.partial_fc import PartialFCHead as PartialFCHead
from afield.heads.registry import HEADS as HEADS
from afield.heads.scale import reachable_probability as reachable_probability, scale_floor as scale_floor
from afield.heads.sharded import ShardedHead as ShardedHead
from afield.heads.sphereface import SphereFaceHead as SphereFaceHead
from afield.heads.subcenter import SubCenterArcFaceHead as SubCenterArcFaceHead

if not TYPE_CHECKING:
    __getattr__ = renamed_attributes(__name__)
