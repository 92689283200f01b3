"""SGD that supports sparse gradients and updates only the rows in the gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class SparseSGD(torch.optim.SGD):
    """`torch.optim.SGD` with support for sparse gradients, such as those of a head with sampled classes.

    For a sparse gradient, the step updates only the rows in the gradient, their momentum and their weight decay. The
    cost of a step is proportional to the number of these rows. If the gradient contains all rows, the step equals plain
    SGD.

    Args:
        params: as in `torch.optim.SGD`.
        lr: learning rate.
        momentum: momentum factor, in [0, 1).
        weight_decay: L2 penalty.
        nesterov: whether to use Nesterov momentum.
    """

    def __init__(
        self, params: Any, lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(params, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step. If there is a closure, it is called first and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = [
            (parameter, parameter.grad, group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        ]
        for parameter, gradient, group in sparse:
            self._step_rows(parameter, gradient.coalesce(), group)
            parameter.grad = None
        super().step()
        for parameter, gradient, _ in sparse:
            parameter.grad = gradient
        return loss

    def _step_rows(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows, change = gradient.indices()[0], gradient.values()
        if group["weight_decay"]:
            change = change.add(parameter[rows], alpha=group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            moved = state["momentum_buffer"][rows].mul_(group["momentum"]).add_(change)
            state["momentum_buffer"][rows] = moved
            change = change.add(moved, alpha=group["momentum"]) if group["nesterov"] else moved
        parameter.index_add_(0, rows, change, alpha=-group["lr"])
