"""How far one cloud of points is from another, by the cheapest way to move it there."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


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

    No gradient flows through the plan, as is right where it is the cheapest one (the envelope theorem).
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (points if points.dtype == torch.float64 else points.float() for points in (x, y))
        cost = 1 - F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
        with torch.no_grad():
            plan = transport_plan(cost, blur, rounds)
        return (plan * cost).sum()
