"""Scaled cosines to class vectors, separated into target and others in one autograd function.

What the composed path (`CosineHead.cosines`, a loss, autograd) does with a normalized copy of the weights and five
``[B, K]`` tensors is done here without a copy of the weights and with one ``[B, K]`` buffer between forward and
backward: the class vectors' norms divide the logits, and the margin, which moves the target's logit alone, is left
to the caller as a function of ``[B]``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.target_split import check_rows

NORM_FLOOR = 5e-3
"""Shorter vectors are divided by this instead of their length: a zero vector has cosine 0, and the gradient stays below
twice the scale over this."""

CHUNK_BYTES = 2**18
"""How much of the buffer the backward pass works on at a time: it should stay in a core's cache."""


def unit(x: Tensor) -> Tensor:
    """Rows of unit length, in float32: ``x / max(|x|, NORM_FLOOR)``."""
    return F.normalize(x.float(), dim=-1, eps=NORM_FLOOR)


def split_cosines(
    features: Tensor, weight: Tensor, targets: Tensor, scale: float | Tensor, *, partial: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's cosine, and logsumexp and sum of the other scaled cosines, each ``[B]`` in float32.

    May be differentiated more than once (``retain_graph``): the first backward pass consumes the buffer, another
    one computes it anew.

    Args:
        features: ``[B, D]``, of any length; half precision is computed in float32, under autocast too.
        weight: class vectors ``[K, D]`` with K >= 2, of any length.
        targets: class indices ``[B]``.
        scale: a number, or a tensor ``[]`` that gets a gradient.
        partial: these are not all classes, and a target of -1 is none of them; its cosine is then given as 0.

    Raises:
        ValueError: another number of targets than of features.
    """
    check_rows(targets, features)
    with torch.autocast(features.device.type, enabled=False):
        scale = torch.as_tensor(scale, dtype=torch.float32, device=weight.device)
        present = targets[:, None] >= 0 if partial else None
        index = targets[:, None].clamp(min=0) if partial else targets[:, None]
        return _SeparateCosines.apply(features.float(), weight.float(), index, present, scale)


def _put(buffer: Tensor, index: Tensor, present: Tensor | None, value: Tensor | float) -> None:
    """``buffer[b, index[b]] = value[b]`` in the rows whose target is present (None: in all)."""
    if present is not None:
        value = torch.where(present, value, buffer.gather(1, index))
    buffer.scatter_(1, index, value)


def _inverse_norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1).clamp_(min=NORM_FLOOR).reciprocal_()


def _above_floor(inverse_norm: Tensor) -> Tensor:
    return inverse_norm * NORM_FLOOR < 1 - 1e-6


def _log_softmax_of_others(logits: Tensor, index: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """``log q`` ``[B, K]`` over the others, 0 at the target, in the logits' place; and their logsumexp ``[B]``."""
    _put(logits, index, present, -torch.inf)
    largest = logits.amax(dim=1)
    log_q = torch.log_softmax(logits, dim=1, out=logits)
    log_sum = largest - log_q.amax(dim=1)
    _put(log_q, index, present, 0.0)
    return log_q, log_sum


def _composed(
    features: Tensor, weight: Tensor, index: Tensor, present: Tensor | None, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in plain steps, with a normalized copy of the weights: what a second derivative is taken of."""
    here = torch.ones_like(index, dtype=torch.bool) if present is None else present
    cosines = F.linear(unit(features), unit(weight))
    cosine = cosines.gather(1, index).where(here, 0)
    target = torch.zeros_like(cosines, dtype=torch.bool).scatter(1, index, here)
    others = scale * cosines
    return cosine.squeeze(1), others.masked_fill(target, -torch.inf).logsumexp(1), others.masked_fill(target, 0).sum(1)


class _SeparateCosines(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, index: Tensor, present: Tensor | None, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        shrink, stretch = _inverse_norm(features), scale * _inverse_norm(weight)
        logits = ((features * shrink[:, None]) @ weight.T).mul_(stretch)
        cosine = logits.gather(1, index) / scale
        cosine = (cosine if present is None else cosine.where(present, 0)).squeeze(1)
        total = logits.sum(dim=1) - scale * cosine
        log_q, log_sum = _log_softmax_of_others(logits, index, present)
        ctx.save_for_backward(features, weight, index, present, scale, shrink, stretch, cosine, log_sum)
        ctx.log_q = log_q
        return cosine, log_sum, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):
            if torch.is_grad_enabled():  # create_graph: the gradient is to be differentiated itself
                return _gradients_with_graph(ctx, gradients)
            return _gradients(ctx, *gradients)


def _gradients_with_graph(ctx: Any, gradients: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    features, weight, index, present, scale, *_ = ctx.saved_tensors
    outputs = _composed(features, weight, index, present, scale)
    inputs = [x for x in (features, weight, scale) if x.requires_grad]
    found = iter(torch.autograd.grad(outputs, inputs, gradients, create_graph=True))
    to_features, to_weight, to_scale = (next(found) if x.requires_grad else None for x in (features, weight, scale))
    return to_features, to_weight, None, None, to_scale


def _gradients(ctx: Any, to_cosine: Tensor, to_log_sum: Tensor, to_total: Tensor) -> tuple[Tensor | None, ...]:
    features, weight, index, present, scale, shrink, stretch, cosine, log_sum = ctx.saved_tensors
    unit = features * shrink[:, None]
    buffer, ctx.log_q = ctx.log_q, None
    if buffer is None:
        buffer, _ = _log_softmax_of_others((unit @ weight.T).mul_(stretch), index, present)

    # From log q to the gradient at the scaled cosines; and its product with them, summed over the batch.
    along = torch.zeros_like(stretch)
    rows = max(1, CHUNK_BYTES // (4 * buffer.shape[1]))
    for start in range(0, len(buffer), rows):
        part = slice(start, start + rows)
        log_q = buffer[part]
        logits = log_q + log_sum[part, None]
        gradient = log_q.exp_().mul_(to_log_sum[part, None]).add_(to_total[part, None])
        _put(gradient, index[part], None if present is None else present[part], 0.0)
        along += logits.mul_(gradient).sum(dim=0)
    to_scale = along.sum() / scale
    _put(buffer, index, present, to_cosine[:, None] / scale)
    along.index_add_(0, index.squeeze(1), to_cosine * cosine)

    # What points along a vector changes its length alone, which no cosine sees but that of a vector below the floor.
    buffer.mul_(stretch)
    to_features = to_weight = None
    if ctx.needs_input_grad[0]:
        to_features = buffer @ weight
        length = torch.linalg.vecdot(to_features, unit) * _above_floor(shrink)
        to_features.addcmul_(unit, length[:, None], value=-1).mul_(shrink[:, None])
    if ctx.needs_input_grad[1]:
        inverse = stretch / scale
        length = along * inverse.square() * _above_floor(inverse)
        to_weight = (buffer.T @ unit).addcmul_(weight, length[:, None], value=-1)
    return to_features, to_weight, None, None, to_scale
