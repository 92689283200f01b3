"""Entropy-regularized optimal transport between two sets of points."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LENGTH_FLOOR = 5e-3
"""Lower bound of the length by which points are divided, as in the heads. It bounds the gradients."""


def transport_plan(cost: Tensor, blur: float, rounds: int) -> Tensor:
    """The transport plan between N points of weight 1/N and M points of weight 1/M, with entropic regularization.

    It minimizes ``(plan * cost).sum() - blur * entropy(plan)`` with Sinkhorn iterations in the log domain, so that a
    small ``blur`` causes neither overflow nor underflow.

    Args:
        cost: cost matrix ``[N, M]``.
        blur: epsilon, strength of the regularization, in units of the cost. Near 0 the plan is the optimal one.
        rounds: number of iterations. Each normalizes the columns, then the rows; at the end the row sums are exact.

    Returns:
        The plan ``[N, M]``, non-negative, with sum 1.

    References:
        Cuturi, "Sinkhorn Distances", NeurIPS 2013; Peyré and Cuturi, "Computational Optimal Transport", 2019,
        section 4.4, on the log domain.
    """
    scores, (rows, columns) = cost / -blur, cost.shape
    left = scores.new_zeros(rows)
    for _ in range(rounds):
        right = -(scores + left[:, None]).logsumexp(dim=0) - math.log(columns)
        left = -(scores + right).logsumexp(dim=1) - math.log(rows)
    return (scores + left[:, None] + right).exp()


def transport_distance(x: Tensor, y: Tensor, *, blur: float = 0.05, rounds: int = 20) -> Tensor:
    """The optimal transport cost between points ``[N, D]`` and ``[M, D]``: a scalar in [0, 2].

    The cost of a pair is one minus the cosine. No gradient flows through the plan. By the envelope theorem, the
    gradient is that of the minimized value, the cost minus `blur` times the entropy. For a small `blur` it approaches
    the gradient of the cost alone.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (points if points.dtype == torch.float64 else points.float() for points in (x, y))
        x, y = (F.normalize(points, dim=1, eps=LENGTH_FLOOR) for points in (x, y))
        cost = 1 - x @ y.T
        with torch.no_grad():
            plan = transport_plan(cost, blur, rounds)
        return (plan * cost).sum()
