"""A batch of logits as its losses see it: the target's logit apart from the others.

Cross-entropy and complement flattening need three numbers an example, and no more. They are computed together, on
one ``[B, K]`` buffer, whatever the target's logit is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Separated(NamedTuple):
    """One value of each an example, ``[B]``, float32 or float64.

    Cross-entropy is ``softplus(log_sum - target)``, complement flattening ``log_sum - mean``.

    Attributes:
        target: the target's logit.
        log_sum: logsumexp over the other logits.
        mean: their mean.
    """

    target: Tensor
    log_sum: Tensor
    mean: Tensor


def separate(logits: Tensor, targets: Tensor) -> Separated:
    """Logits ``[B, K]`` with K >= 2, class indices ``[B]`` -> `Separated`; half precision is computed in float32."""
    return Separated(*_Separate.apply(logits, targets[:, None]))


class _Separate(torch.autograd.Function):
    """Saves the softmax over the other logits, of which the gradient is made in one more pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target = logits.gather(1, index).to(dtype)
        others = logits.to(dtype, copy=True).scatter_(1, index, 0.0)
        mean = others.sum(dim=1) / (logits.shape[1] - 1)
        largest = others.scatter_(1, index, -torch.inf).amax(dim=1)
        softmax = torch.softmax(others, dim=1, out=others)
        log_sum = largest - softmax.amax(dim=1).log()
        ctx.save_for_backward(softmax, index)
        ctx.dtype = logits.dtype
        return target.squeeze(1), log_sum, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, target: Tensor, log_sum: Tensor, mean: Tensor) -> tuple[Tensor, None]:
        softmax, index = ctx.saved_tensors
        share = (mean / (softmax.shape[1] - 1))[:, None]
        gradient = softmax.mul(log_sum[:, None]).add_(share).scatter_(1, index, target[:, None])
        return gradient.to(ctx.dtype), None
