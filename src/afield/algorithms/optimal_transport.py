"""How far one cloud of points is from another, by the cheapest way to move it there."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LENGTH_FLOOR = 5e-3
"""Shorter points are divided by this instead of their length, as in the heads, so that gradients stay bounded."""


def transport_plan(cost: Tensor, blur: float, rounds: int) -> Tensor:
    """The plan that moves N points of weight 1/N onto M points of weight 1/M, cheaply and with much entropy.

    It minimizes ``(plan * cost).sum() - blur * entropy(plan)`` by Sinkhorn's rounds, in logarithms, so that a small
    ``blur`` neither over- nor underflows.

    Args:
        cost: ``[N, M]``.
        blur: epsilon, in units of the cost; towards 0 the plan becomes the cheapest one.
        rounds: each makes the columns' sums right, then the rows'; the rows are exact at the end.

    Returns:
        ``[N, M]``, not negative, of sum 1.

    References:
        Cuturi, "Sinkhorn Distances", NeurIPS 2013; Peyré and Cuturi, "Computational Optimal Transport", 2019,
        section 4.4, on logarithms.
    """
    scores, (rows, columns) = cost / -blur, cost.shape
    left = scores.new_zeros(rows)
    for _ in range(rounds):
        right = -(scores + left[:, None]).logsumexp(dim=0) - math.log(columns)
        left = -(scores + right).logsumexp(dim=1) - math.log(rows)
    return (scores + left[:, None] + right).exp()


def transport_distance(x: Tensor, y: Tensor, *, blur: float = 0.05, rounds: int = 20) -> Tensor:
    """The cost of moving points ``[N, D]`` onto points ``[M, D]``, one minus their cosines: a scalar in [0, 2].

    No gradient flows through the plan. By the envelope theorem the gradient is thus that of what the plan minimizes,
    the cost minus `blur` times the entropy, and that of the cost alone in the limit of a small blur.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (points if points.dtype == torch.float64 else points.float() for points in (x, y))
        x, y = (F.normalize(points, dim=1, eps=LENGTH_FLOOR) for points in (x, y))
        cost = 1 - x @ y.T
        with torch.no_grad():
            plan = transport_plan(cost, blur, rounds)
        return (plan * cost).sum()
