"""Losses: pure functions ``(logits [B, K], targets [B], *, hyper-parameters) -> [B]``, and modules over them."""

from afield.losses.cross_entropy import cross_entropy, label_smoothing
from afield.losses.entropy import complement_entropy, confidence_penalty
from afield.losses.flattening import ComplementFlattening, complement_flattening
from afield.losses.focal import focal
from afield.losses.registry import LOSSES

__all__ = [
    "LOSSES",
    "ComplementFlattening",
    "complement_entropy",
    "complement_flattening",
    "confidence_penalty",
    "cross_entropy",
    "focal",
    "label_smoothing",
]
