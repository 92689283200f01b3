"""Scaled cosines to class vectors, split into target and other classes, in one autograd function.

The composed path (`CosineHead.cosines`, a loss, autograd) needs a normalized copy of the weights and five ``[B, K]``
tensors. This function needs no copy of the weights and keeps one ``[B, K]`` buffer between forward and backward: it
divides the logits by the norms of the class vectors. The caller applies the margin, which changes only the target's
logit, to a tensor ``[B]``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.target_split import check_rows

NORM_FLOOR = 5e-3
"""Lower bound of the length by which vectors are divided. A zero vector has cosine 0, and the gradient is at most twice
the scale divided by this bound."""

CHUNK_BYTES = 2**18
"""Part of the buffer that the backward pass processes at a time. It should fit in the cache of a core."""


def unit(x: Tensor) -> Tensor:
    """Rows of unit length, in float32: ``x / max(|x|, NORM_FLOOR)``."""
    return F.normalize(x.float(), dim=-1, eps=NORM_FLOOR)


def split_cosines(
    features: Tensor, weight: Tensor, targets: Tensor, scale: float | Tensor, *, partial: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's cosine, and logsumexp and sum of the other scaled cosines, each ``[B]`` in float32.

    With ``retain_graph``, the result can be differentiated more than once: the first backward pass consumes the buffer,
    and later passes recompute it.

    Args:
        features: features ``[B, D]`` of any length. The computation uses float32, also for half precision and under
            autocast.
        weight: class vectors ``[K, D]`` of any length, K >= 2.
        targets: class indices ``[B]``.
        scale: a number, or a scalar tensor that receives a gradient.
        partial: whether `weight` contains only some of the classes. A target of -1 then means that the class is not
            among them, and its cosine is returned as 0.

    Raises:
        ValueError: if the numbers of targets and features differ.
    """
    check_rows(targets, features)
    with torch.autocast(features.device.type, enabled=False):
        scale = torch.as_tensor(scale, dtype=torch.float32, device=weight.device)
        present = targets[:, None] >= 0 if partial else None
        index = targets[:, None].clamp(min=0) if partial else targets[:, None]
        return _SplitCosines.apply(features.float(), weight.float(), index, present, scale)


def _put(buffer: Tensor, index: Tensor, present: Tensor | None, value: Tensor | float) -> None:
    """Set ``buffer[b, index[b]] = value[b]`` in the rows where `present` is true (None: in all rows)."""
    if present is not None:
        value = torch.where(present, value, buffer.gather(1, index))
    buffer.scatter_(1, index, value)


def _inverse_norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1).clamp_(min=NORM_FLOOR).reciprocal_()


def _above_floor(inverse_norm: Tensor) -> Tensor:
    return inverse_norm * NORM_FLOOR < 1 - 1e-6


def _log_softmax_of_others(logits: Tensor, index: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Replace the logits by their log-softmax over the other classes, 0 at the target; also return the logsumexp."""
    _put(logits, index, present, -torch.inf)
    largest = logits.amax(dim=1)
    log_q = torch.log_softmax(logits, dim=1, out=logits)
    log_sum = largest - log_q.amax(dim=1)
    _put(log_q, index, present, 0.0)
    return log_q, log_sum


def _composed(
    features: Tensor, weight: Tensor, index: Tensor, present: Tensor | None, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same computation in plain PyTorch, with a normalized copy of the weights, for second derivatives."""
    here = torch.ones_like(index, dtype=torch.bool) if present is None else present
    cosines = F.linear(unit(features), unit(weight))
    cosine = cosines.gather(1, index).where(here, 0)
    target = torch.zeros_like(cosines, dtype=torch.bool).scatter(1, index, here)
    others = scale * cosines
    return cosine.squeeze(1), others.masked_fill(target, -torch.inf).logsumexp(1), others.masked_fill(target, 0).sum(1)


class _SplitCosines(torch.autograd.Function):
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

    # Convert log q to the gradient of the scaled cosines, and sum its product with them over the batch.
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

    # Remove the component along each vector: it changes only the length. Cosines do not depend on the length, except
    # that of a vector below the floor.
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
