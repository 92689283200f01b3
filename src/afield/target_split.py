"""A batch of logits split into the target's logit and a summary of the other logits.

Cross-entropy and complement flattening need only three numbers per example. All three are computed with one ``[B, K]``
buffer and are exact for every value of the target's logit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class TargetSplit(NamedTuple):
    """Three values per example, each ``[B]``, float32 or float64.

    Cross-entropy is ``softplus(log_sum - target)``, complement flattening ``log_sum - mean``.

    Attributes:
        target: the target's logit.
        log_sum: logsumexp over the other logits.
        mean: mean of the other logits.
    """

    target: Tensor
    log_sum: Tensor
    mean: Tensor


def split_target(logits: Tensor, targets: Tensor) -> TargetSplit:
    """Logits ``[B, K]`` with K >= 2, class indices ``[B]`` -> `TargetSplit`; half precision is computed in float32.

    Raises:
        ValueError: if the numbers of targets and rows differ.
    """
    check_rows(targets, logits)
    return TargetSplit(*_SplitTarget.apply(logits, targets[:, None]))


def check_rows(targets: Tensor, rows: Tensor) -> None:
    """Raise `ValueError` unless there is one target per row; gather and scatter do not check this."""
    if targets.shape != rows.shape[:1]:
        raise ValueError(f"{len(rows)} rows need class indices [{len(rows)}], got {list(targets.shape)}")


def composed(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`split_target` in plain PyTorch, as a reference and for second derivatives."""
    others = logits.scatter(1, index, -torch.inf)
    total = logits.scatter(1, index, 0.0).sum(dim=1)
    return logits.gather(1, index).squeeze(1), others.logsumexp(dim=1), total / (logits.shape[1] - 1)


class _SplitTarget(torch.autograd.Function):
    """Saves the softmax over the other logits for the gradient in the backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target = logits.gather(1, index).to(dtype)
        others = logits.to(dtype, copy=True).scatter_(1, index, 0.0)
        mean = others.sum(dim=1) / (logits.shape[1] - 1)
        largest = others.scatter_(1, index, -torch.inf).amax(dim=1)
        softmax = torch.softmax(others, dim=1, out=others)
        log_sum = largest - softmax.amax(dim=1).log()
        ctx.save_for_backward(logits, softmax, index)
        return target.squeeze(1), log_sum, mean

    @staticmethod
    def backward(ctx: Any, target: Tensor, log_sum: Tensor, mean: Tensor) -> tuple[Tensor, None]:
        logits, softmax, index = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the gradient is to be differentiated itself
            outputs = composed(logits.to(target.dtype), index)
            (gradient,) = torch.autograd.grad(outputs, logits, (target, log_sum, mean), create_graph=True)
            return gradient, None
        share = (mean / (softmax.shape[1] - 1))[:, None]
        gradient = softmax.mul(log_sum[:, None]).add_(share).scatter_(1, index, target[:, None])
        return gradient.to(logits.dtype), None
