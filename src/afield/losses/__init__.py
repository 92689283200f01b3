"""Losses: pure functions ``(logits [B, K], targets [B], *, hyper-parameters) -> [B]``, and modules over them."""

from afield.losses.cross_entropy import cross_entropy, label_smoothing
from afield.losses.flattening import ComplementFlattening, complement_flattening
from afield.losses.registry import LOSSES

__all__ = ["LOSSES", "ComplementFlattening", "complement_flattening", "cross_entropy", "label_smoothing"]
