"""What every loss shares: checked arguments, class weights, ignored rows, and the dtype to compute in.

Targets are class indices ``[B]``, or probabilities ``[B, K]`` as mixup and CutMix make them (soft targets).

* `weight`, ``[K]``: one weight a class. An example counts by the weight of its target, or by the expected weight
  under its probabilities. Cross-entropy and label smoothing read it as `torch.nn.functional.cross_entropy` does.
* `ignore_index`: rows with this index have the value 0 and the gradient 0. Probabilities have no such rows.

Values come back in the logits' dtype. Half precision is computed in float32.

The values of targets are checked on a CPU, where that costs next to nothing; elsewhere it would wait for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from afield.target_split import check_targets


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
    """Logits, targets and class weights, checked and in the dtypes to compute in.

    Args:
        loss: the name that errors begin with.
        logits: ``[B, K]``.
        targets: class indices ``[B]``, or probabilities ``[B, K]`` where `soft`.
        weight: ``[K]`` or None.
        ignore_index: an index, below 0 with probabilities.
        classes: the fewest classes that the loss is defined for.
        soft: whether the loss is defined for probabilities.

    Returns:
        Logits in float32 or wider; indices in int64 or probabilities in the logits' new dtype; weights in that too.

    Raises:
        ValueError: no examples, or a shape, a dtype or targets other than these.
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
    """Logits with a finite number in place of -inf: a masked class has probability 0, and 0 log 0 is 0."""
    return logits.clamp(min=-1e18)


def right_classes(loss: str, logits: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Where the target probability is not 0: ``[B, K]``, bool. An ignored row counts as class 0.

    Raises:
        ValueError: a row of probabilities without a 0, which leaves no wrong class.
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
    """Class indices ``[B]`` with class 0 in the rows that are ignored, to gather and scatter with."""
    return targets.long().masked_fill(targets == ignore_index, 0)


def example_weight(targets: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """What each example counts, ``[B]``: the (expected) weight of its target, 0 where it is ignored."""
    if is_soft(targets):
        return targets.new_ones(targets.shape[0]) if weight is None else (targets * weight).sum(dim=1)
    kept = targets != ignore_index
    return kept if weight is None else weight[targets.where(kept, 0)] * kept


def settle(values: Tensor, logits: Tensor, targets: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Values ``[B]`` times what each example counts, in the dtype of the logits that the loss was given."""
    return narrow(values * example_weight(targets, weight, ignore_index), logits)


def is_soft(targets: Tensor) -> bool:
    """Whether checked targets are probabilities rather than indices."""
    return targets.is_floating_point()


def widen(logits: Tensor) -> Tensor:
    """Half precision as float32, the rest as it is."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def narrow(values: Tensor, logits: Tensor) -> Tensor:
    """Values in the logits' dtype; under autocast as they were computed, like PyTorch's own losses."""
    device = logits.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return values if autocast else values.to(logits.dtype)


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
