"""Losses: pure functions ``(logits [B, K], targets, *, hyper-parameters, weight, ignore_index) -> [B]``, and modules.

Targets are class indices ``[B]`` or, where that has a meaning, probabilities ``[B, K]``; `afield.losses.targets` says
what `weight` and `ignore_index` do. The modules are drop-ins for ``nn.CrossEntropyLoss``: `afield.losses.criterion`.
"""

from afield.losses.criterion import Criterion
from afield.losses.cross_entropy import CrossEntropy, LabelSmoothing, cross_entropy, label_smoothing
from afield.losses.entropy import ComplementEntropy, ConfidencePenalty, complement_entropy, confidence_penalty
from afield.losses.flattening import ComplementFlattening, complement_flattening
from afield.losses.focal import Focal, focal
from afield.losses.guided import GuidedComplementEntropy, guided_complement_entropy
from afield.losses.max_entropy import MaxEntropy, max_entropy
from afield.losses.registry import LOSSES

__all__ = [
    "LOSSES",
    "ComplementEntropy",
    "ComplementFlattening",
    "ConfidencePenalty",
    "Criterion",
    "CrossEntropy",
    "Focal",
    "GuidedComplementEntropy",
    "LabelSmoothing",
    "MaxEntropy",
    "complement_entropy",
    "complement_flattening",
    "confidence_penalty",
    "cross_entropy",
    "focal",
    "guided_complement_entropy",
    "label_smoothing",
    "max_entropy",
]
