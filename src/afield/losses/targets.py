"""Common parts of the losses: argument checks, class weights, ignored rows, and the dtype of the computation.

Targets are class indices ``[B]``, or probabilities ``[B, K]`` (soft targets) such as those of mixup and CutMix.

* `weight`, ``[K]``: weight of each class. The loss of an example is multiplied by the weight of its target, or by the
  expected weight under its probabilities. For cross-entropy and label smoothing the meaning is that of
  `torch.nn.functional.cross_entropy`.
* A class with logit -inf is masked: it takes no part, as if the row had no such column.
* `ignore_index`: rows with this target have the value 0 and the gradient 0. It does not apply to probabilities.

Losses are returned in the dtype of the logits. Half precision is computed in float32.

The values of targets are checked only on a CPU. On another device, the check would wait for the device.
"""

import torch
from torch import Tensor

from afield.target_split import MASKED, check_targets


def prepare(
    loss: str,
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    *,
    classes: int = 1,
    soft: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Check logits, targets and class weights, and convert them to the dtypes of the computation.

    Args:
        loss: name of the loss, for error messages.
        logits: logits ``[B, K]``.
        targets: class indices ``[B]``, or probabilities ``[B, K]`` if `soft`.
        weight: class weights ``[K]`` or None.
        ignore_index: target to ignore; must be negative if the targets are probabilities.
        classes: minimum number of classes of the loss.
        soft: whether the loss supports probabilities.

    Returns:
        Logits in float32 or float64; indices in int64 or probabilities in the dtype of these logits; weights in the
        same dtype.

    Raises:
        ValueError: if there are no examples, if a shape or a dtype does not fit, or if a target is invalid.
    """
    if logits.ndim != 2 or logits.shape[1] < classes or not logits.is_floating_point():
        raise ValueError(f"{loss} needs logits [B, K] with K >= {classes}, got {_described(logits)}")
    if not len(logits):
        raise ValueError(f"{loss} needs at least one example")
    indices = targets.shape == logits.shape[:1] and not _is_real(targets)
    probabilities = targets.shape == logits.shape and targets.is_floating_point()
    if not indices and not (soft and probabilities):
        allowed = "class indices [B] or probabilities [B, K]" if soft else "class indices [B]"
        raise ValueError(f"{loss} needs {allowed} for logits {tuple(logits.shape)}, got {_described(targets)}")
    if probabilities and ignore_index >= 0:
        raise ValueError(f"{loss} ignores rows by their index; with probabilities it got ignore_index={ignore_index}")
    if weight is not None and (weight.shape != logits.shape[1:] or not weight.is_floating_point()):
        raise ValueError(f"{loss} needs weight [K] for logits {tuple(logits.shape)}, got {_described(weight)}")
    check_targets(targets, logits.shape[1], ignore_index)
    logits = widen(logits)
    targets = targets.to(logits.dtype if probabilities else torch.int64)
    if probabilities:
        logits = unmasked(logits)
    return logits, targets, None if weight is None else weight.to(logits.dtype)


def unmasked(logits: Tensor) -> Tensor:
    """Replace the logit -inf of a masked class by `MASKED`."""
    return logits.clamp(min=MASKED)


def right_classes(loss: str, logits: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Mask of classes whose target probability is not 0: ``[B, K]``, bool. Ignored rows have the target class 0.

    Raises:
        ValueError: if a row of probabilities contains no 0, so that there is no wrong class.
    """
    if is_soft(targets):
        right = targets != 0
        without = right.all(dim=1)
        if without.any():
            raise ValueError(
                f"{loss} needs a wrong class in every row, one of target probability 0; "
                f"row {int(without.int().argmax())} has none"
            )
        return right
    index = counted(targets, ignore_index)[:, None]
    return torch.zeros_like(logits, dtype=torch.bool).scatter(1, index, True)


def counted(targets: Tensor, ignore_index: int) -> Tensor:
    """Class indices ``[B]`` with class 0 in ignored rows, as indices for gather and scatter."""
    return targets.long().masked_fill(targets == ignore_index, 0)


def example_weight(targets: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The weight of each example, ``[B]``: the (expected) weight of its target, 0 in ignored rows."""
    if is_soft(targets):
        return targets.new_ones(targets.shape[0]) if weight is None else (targets * weight).sum(dim=1)
    kept = targets != ignore_index
    return kept if weight is None else weight[targets.where(kept, 0)] * kept


def settle(values: Tensor, logits: Tensor, targets: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Values ``[B]`` multiplied by the weight of each example, in the dtype of the original logits."""
    return narrow(values * example_weight(targets, weight, ignore_index), logits)


def is_soft(targets: Tensor) -> bool:
    """Whether checked targets are probabilities rather than indices."""
    return targets.is_floating_point()


def widen(logits: Tensor) -> Tensor:
    """Convert half precision to float32; leave other dtypes unchanged."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def narrow(values: Tensor, logits: Tensor) -> Tensor:
    """Convert values to the dtype of the logits, except under autocast, like PyTorch's own losses."""
    device = logits.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return values if autocast else values.to(logits.dtype)


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
