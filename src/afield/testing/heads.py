"""Checks of heads."""

from collections.abc import Callable

import torch
from torch import nn

from afield.testing.inputs import TARGETS, numbers
from afield.types import Head

MakeHead = Callable[..., nn.Module]


def check_head(head: MakeHead) -> None:
    """All checks of a head, a class or function that takes ``in_features`` and ``num_classes``."""
    for check in HEAD_CHECKS:
        check(head)


def needs_only_its_sizes_and_gives_logits(head: MakeHead) -> None:
    """It has the `Head` interface, and gives logits ``[B, K]`` with and without targets."""
    made = head(in_features=8, num_classes=5)
    assert isinstance(made, Head), "a head has in_features, num_classes and forward(features, targets=None)"
    assert (made.in_features, made.num_classes) == (8, 5)
    features = numbers(8)
    assert made(features).shape == made(features, TARGETS).shape == (7, 5)


def has_finite_gradients(head: MakeHead) -> None:
    """Cross-entropy has a finite gradient, not 0, for features and each parameter."""
    made, features = head(in_features=8, num_classes=5), numbers(8)
    nn.functional.cross_entropy(made(features, TARGETS), TARGETS).backward()
    for gradient in (features.grad, *(parameter.grad for parameter in made.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0, "a gradient is 0"


def returns_from_its_state(head: MakeHead) -> None:
    """A head with the state dict of another one gives the same logits."""
    torch.manual_seed(0)
    made, other = (head(in_features=8, num_classes=5) for _ in range(2))
    features = numbers(8)
    assert not torch.equal(other(features, TARGETS), made(features, TARGETS)), "two heads have the same weights"
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(features, TARGETS), made(features, TARGETS))


def is_initialized_by_the_seed_alone(head: MakeHead) -> None:
    """Two heads of one seed have equal states."""
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(head(in_features=8, num_classes=5).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


HEAD_CHECKS = (
    needs_only_its_sizes_and_gives_logits,
    has_finite_gradients,
    returns_from_its_state,
    is_initialized_by_the_seed_alone,
)
"""The checks of `check_head`."""
