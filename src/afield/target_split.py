"""A batch of logits split into the target's logit and a summary of the other logits.

Cross-entropy and complement flattening need only three numbers per example. All three are computed with one ``[B, K]``
buffer and are exact for every value of the target's logit. A class with logit -inf is masked: it takes no part.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

MASKED = -1e18
"""A finite number instead of -inf, so that a masked class with probability 0 has ``p * log(p) = 0``, not NaN."""


class TargetSplit(NamedTuple):
    """Three values per example, each ``[B]``, float32 or float64.

    Cross-entropy is ``softplus(log_sum - target)``, complement flattening ``log_sum - mean``.

    Attributes:
        target: the target's logit.
        log_sum: logsumexp over the other logits.
        mean: mean of the other logits. If all of them are masked, `log_sum` and `mean` are `MASKED`.
    """

    target: Tensor
    log_sum: Tensor
    mean: Tensor


def split_target(logits: Tensor, targets: Tensor) -> TargetSplit:
    """Logits ``[B, K]`` with K >= 2, class indices ``[B]`` -> `TargetSplit`; half precision is computed in float32.

    Raises:
        ValueError: if there are fewer than two classes, if the numbers of targets and rows differ, or if a target is
            not a class index.
    """
    if logits.shape[1] < 2:
        raise ValueError(f"a target is split from others: that needs K >= 2 classes, got {list(logits.shape)}")
    check_rows(targets, logits)
    check_targets(targets, logits.shape[1])
    return TargetSplit(*_SplitTarget.apply(logits, targets[:, None]))


def check_rows(targets: Tensor, rows: Tensor) -> None:
    """Raise `ValueError` unless there is one target per row; gather and scatter do not check this."""
    if targets.shape != rows.shape[:1]:
        raise ValueError(f"{len(rows)} rows need class indices [{len(rows)}], got {list(targets.shape)}")


def check_targets(targets: Tensor, classes: int, ignore_index: int | None = None) -> None:
    """Raise `ValueError` if a class index is out of range or a row of probabilities is invalid.

    The check is made only on a CPU. On another device, it would wait for the device.
    """
    if targets.device.type != "cpu" or torch.compiler.is_compiling() or not targets.numel():
        return
    if targets.is_floating_point():
        sums, tolerance = targets.double().sum(dim=1), classes * torch.finfo(targets.dtype).eps
        wrong = (targets < 0).any(dim=1) | ~((sums - 1).abs() <= max(1e-3, tolerance))
        if wrong.any():
            row = int(wrong.int().argmax())
            raise ValueError(f"target probabilities must be at least 0 and sum to 1, got {targets[row].tolist()}")
        return
    low, high = targets.aminmax()
    if low >= 0 and high < classes:
        return
    wrong = (targets < 0) | (targets >= classes)
    if ignore_index is not None:
        wrong &= targets != ignore_index
    if wrong.any():
        bad = int(targets[wrong][0])
        raise ValueError(f"class indices must lie between 0 and {classes - 1} for {classes} classes, got {bad}")


def composed(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`split_target` in plain PyTorch, as a reference and for second derivatives."""
    right = torch.zeros_like(logits, dtype=torch.bool).scatter(1, index, True)
    return logits.gather(1, index).squeeze(1), *log_sum_and_mean(logits, right)


def log_sum_and_mean(logits: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Logsumexp and mean of the logits ``[B, K]`` that are neither masked nor in `right`, a mask; both ``[B]``."""
    kept = ~right & (logits != -torch.inf)
    mean = _mean(logits.masked_fill(~kept, 0.0), kept.sum(dim=1))
    return logits.masked_fill(~kept, MASKED).logsumexp(dim=1), mean


class _SplitTarget(torch.autograd.Function):
    """Saves the softmax over the other logits for the gradient in the backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target = logits.gather(1, index).to(dtype)
        others = logits.to(dtype, copy=True).scatter_(1, index, 0.0)
        mean = others.sum(dim=1) / (logits.shape[1] - 1)
        count = torch.full_like(mean, logits.shape[1] - 1)
        ctx.masked = _may_be_masked(mean)
        if ctx.masked:
            masked = others == -torch.inf
            count -= masked.sum(dim=1)
            mean = _mean(others.masked_fill_(masked, 0.0), count)
            others.masked_fill_(masked, MASKED)
        largest = others.scatter_(1, index, -torch.inf).amax(dim=1)
        softmax = torch.softmax(others, dim=1, out=others)
        log_sum = largest - softmax.amax(dim=1).log()
        ctx.save_for_backward(logits, softmax, index, count)
        return target.squeeze(1), log_sum, mean

    @staticmethod
    def backward(ctx: Any, target: Tensor, log_sum: Tensor, mean: Tensor) -> tuple[Tensor, None]:
        logits, softmax, index, count = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the gradient is to be differentiated itself
            outputs = composed(logits.to(target.dtype), index)
            (gradient,) = torch.autograd.grad(outputs, logits, (target, log_sum, mean), create_graph=True)
            return gradient, None
        share = (mean / count.clamp(min=1))[:, None]
        gradient = softmax.mul(log_sum[:, None]).add_(share)
        if ctx.masked:
            gradient.masked_fill_(logits == -torch.inf, 0.0)
        return gradient.scatter_(1, index, target[:, None]).to(logits.dtype), None


def _mean(kept: Tensor, count: Tensor) -> Tensor:
    """The mean of `count` logits per row, ``[B]``, if the others in ``[B, K]`` are 0; `MASKED` if there are none."""
    return (kept.sum(dim=1) / count.clamp(min=1)).masked_fill(count == 0, MASKED)


def _may_be_masked(mean: Tensor) -> bool:
    """Whether a class may be masked. Always true except on a CPU, because the check would wait for the device."""
    return mean.device.type != "cpu" or torch.compiler.is_compiling() or bool((mean == -torch.inf).any())
