"""Checks of losses."""

from collections.abc import Callable

import torch
from torch import Tensor

from afield.testing.inputs import TARGETS, numbers

Loss = Callable[..., Tensor]


def check_loss(loss: Loss) -> None:
    """All checks of a loss, a function from logits ``[B, K]`` and targets ``[B]`` to values ``[B]``."""
    for check in LOSS_CHECKS:
        check(loss)


def gives_a_finite_value_and_gradient_for_each_example(loss: Loss) -> None:
    """Values are ``[B]``, of the dtype of the logits and finite; so is the gradient, which is not 0 everywhere."""
    logits = numbers(5)
    values = loss(logits, TARGETS)
    assert values.shape == (7,), f"7 examples need 7 values, got {tuple(values.shape)}"
    assert values.dtype == logits.dtype
    values.sum().backward()
    assert values.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0, "the gradient is 0"


def depends_on_the_example_alone(loss: Loss) -> None:
    """The value of an example does not depend on other examples or on random numbers."""
    logits = numbers(5)
    together = loss(logits, TARGETS)
    alone = torch.cat([loss(logits[i : i + 1], TARGETS[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert torch.equal(together, loss(logits, TARGETS)), "two calls give different values"


def does_not_depend_on_the_order_of_the_classes(loss: Loss) -> None:
    """Renamed classes give the same values."""
    logits, order = numbers(5), torch.tensor([3, 0, 4, 1, 2])
    renamed = order.argsort()[TARGETS]
    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, TARGETS))


def is_finite_at_large_logits(loss: Loss) -> None:
    """Logits of several hundred give finite values and gradients."""
    large = numbers(5, factor=100.0)
    values = loss(large, TARGETS)
    values.sum().backward()
    assert values.isfinite().all()
    assert large.grad is not None
    assert large.grad.isfinite().all()


LOSS_CHECKS = (
    gives_a_finite_value_and_gradient_for_each_example,
    depends_on_the_example_alone,
    does_not_depend_on_the_order_of_the_classes,
    is_finite_at_large_logits,
)
"""The checks of `check_loss`."""
