"""Losses: pure functions ``(logits [B, K], targets, *, hyper-parameters, weight, ignore_index) -> [B]``, and modules.

Targets are class indices ``[B]`` or, if the loss supports it, probabilities ``[B, K]``. `afield.losses.targets`
explains `weight` and `ignore_index`. The modules (`afield.losses.criterion`) are drop-in replacements of
``nn.CrossEntropyLoss``.
"""

from afield.losses.balanced_softmax import BalancedSoftmax as BalancedSoftmax, balanced_softmax as balanced_softmax
from afield.losses.class_counts import balanced_weights as balanced_weights, effective_weights as effective_weights
from afield.losses.criterion import Criterion as Criterion
from afield.losses.cross_entropy import (
    CrossEntropy as CrossEntropy,
    LabelSmoothing as LabelSmoothing,
    cross_entropy as cross_entropy,
    label_smoothing as label_smoothing,
)
from afield.losses.entropy import (
    ComplementEntropy as ComplementEntropy,
    ConfidencePenalty as ConfidencePenalty,
    complement_entropy as complement_entropy,
    confidence_penalty as confidence_penalty,
)
from afield.losses.flattening import (
    ComplementFlattening as ComplementFlattening,
    complement_flattening as complement_flattening,
)
from afield.losses.focal import Focal as Focal, focal as focal
from afield.losses.guided import (
    GuidedComplementEntropy as GuidedComplementEntropy,
    guided_complement_entropy as guided_complement_entropy,
)
from afield.losses.ldam import LDAM as LDAM, ldam as ldam
from afield.losses.logit_adjustment import (
    LogitAdjustment as LogitAdjustment,
    log_prior as log_prior,
    logit_adjustment as logit_adjustment,
)
from afield.losses.max_entropy import MaxEntropy as MaxEntropy, max_entropy as max_entropy
from afield.losses.registry import LOSSES as LOSSES
