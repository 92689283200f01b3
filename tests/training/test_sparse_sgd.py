"""SGD by rows against `torch.optim.SGD`, and against the rule written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afield.training import SparseSGD

SETTINGS = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
]
ALL_SETTINGS = pytest.mark.parametrize("settings", SETTINGS)
FULL = SETTINGS[-1]


def table(rows=6, columns=4, seed=0):
    return nn.Parameter(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))


def gradient(step, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(100 + step))


def rows_of(dense, rows):
    """The sparse gradient that holds these rows of a dense one, in the order given."""
    rows = torch.as_tensor(rows)
    return torch.sparse_coo_tensor(rows[None], dense[rows], dense.shape, check_invariants=True)


def momentum_of(optimizer, parameter):
    return optimizer.state[parameter]["momentum_buffer"]


@ALL_SETTINGS
def test_on_dense_parameters_it_is_sgd_bit_for_bit(settings):
    ours, theirs = [table(), table(seed=1)], [table(), table(seed=1)]
    optimizers = SparseSGD(ours, **settings), torch.optim.SGD(theirs, **settings)
    for step in range(8):
        for parameter, other in zip(ours, theirs, strict=True):
            parameter.grad, other.grad = gradient(step, 6, 4), gradient(step, 6, 4)
        for optimizer in optimizers:
            optimizer.step()
    for parameter, other in zip(ours, theirs, strict=True):
        assert torch.equal(parameter, other)


@ALL_SETTINGS
def test_with_every_row_in_the_sparse_gradient_it_is_sgd(settings):
    ours, theirs = table(), table()
    optimizers = SparseSGD([ours], **settings), torch.optim.SGD([theirs], **settings)
    for step in range(8):
        theirs.grad = gradient(step, 6, 4)
        ours.grad = rows_of(theirs.grad, [3, 0, 5, 1, 4, 2])
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@ALL_SETTINGS
def test_rows_that_are_not_held_keep_value_and_momentum_bit_for_bit(settings):
    parameter = table()
    optimizer = SparseSGD([parameter], **settings)
    parameter.grad = rows_of(gradient(0, 6, 4), range(6))
    optimizer.step()
    before = parameter.detach().clone()
    momentum = momentum_of(optimizer, parameter).clone() if "momentum" in settings else None
    parameter.grad = rows_of(gradient(1, 6, 4), [4, 1])
    optimizer.step()
    others = [0, 2, 3, 5]
    assert torch.equal(parameter[others], before[others])
    assert (parameter[[1, 4]] != before[[1, 4]]).all()
    if momentum is not None:
        assert torch.equal(momentum_of(optimizer, parameter)[others], momentum[others])
        assert (momentum_of(optimizer, parameter)[[1, 4]] != momentum[[1, 4]]).all()


def test_a_row_that_comes_and_goes_follows_the_rule_by_hand():
    parameter = nn.Parameter(torch.tensor([[1.0], [2.0]]))
    optimizer = SparseSGD([parameter], 0.1, momentum=0.5, weight_decay=0.2)
    value, velocity = 2.0, 0.0
    for step in range(6):
        held = [0, 1] if step % 2 == 0 else [0]
        parameter.grad = rows_of(torch.tensor([[0.3], [step - 1.5]]), held)
        optimizer.step()
        if 1 in held:
            velocity = 0.5 * velocity + (step - 1.5) + 0.2 * value
            value -= 0.1 * velocity
        assert parameter[1].item() == pytest.approx(value, abs=1e-6)
        assert momentum_of(optimizer, parameter)[1].item() == pytest.approx(velocity, abs=1e-6)


def test_a_row_that_is_held_twice_adds_up():
    parameter, other = table(), table()
    twice = torch.sparse_coo_tensor(torch.tensor([[2, 0, 2]]), gradient(0, 3, 4), (6, 4), check_invariants=True)
    assert not twice.is_coalesced()
    parameter.grad, other.grad = twice, twice.to_dense()
    SparseSGD([parameter], **FULL).step()
    torch.optim.SGD([other], **FULL).step()
    torch.testing.assert_close(parameter[[0, 2]], other[[0, 2]], atol=1e-6, rtol=0)
    assert torch.equal(parameter[[1, 3, 4, 5]], table()[[1, 3, 4, 5]])


def test_a_gradient_without_rows_changes_nothing():
    parameter = table()
    parameter.grad = rows_of(gradient(0, 6, 4), torch.empty(0, dtype=torch.int64))
    SparseSGD([parameter], **FULL).step()
    assert torch.equal(parameter, table())


def test_a_sparse_and_a_dense_parameter_step_together_and_one_without_a_gradient_stays():
    sparse, dense, idle = table(), table(seed=1), table(seed=2)
    optimizer = SparseSGD([sparse, dense, idle], **FULL)
    theirs = table(), table(seed=1)
    reference = torch.optim.SGD(theirs, **FULL)
    for step in range(3):
        theirs[0].grad, theirs[1].grad = gradient(step, 6, 4), gradient(step + 50, 6, 4)
        sparse.grad, dense.grad = rows_of(theirs[0].grad, range(6)), theirs[1].grad.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(sparse, theirs[0], atol=1e-6, rtol=0)
    assert torch.equal(dense, theirs[1])
    assert torch.equal(idle, table(seed=2))


def test_a_parameter_may_change_between_sparse_and_dense_gradients():
    ours, theirs = table(), table()
    optimizers = SparseSGD([ours], **FULL), torch.optim.SGD([theirs], **FULL)
    for step in range(6):
        theirs.grad = gradient(step, 6, 4)
        ours.grad = rows_of(theirs.grad, range(6)) if step % 2 else theirs.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_the_gradients_are_left_in_place():
    sparse, dense = table(), table(seed=1)
    sparse.grad, dense.grad = rows_of(gradient(0, 6, 4), [1, 2]), gradient(1, 6, 4)
    before = sparse.grad, dense.grad
    optimizer = SparseSGD([sparse, dense], **FULL)
    optimizer.step()
    assert sparse.grad is before[0]
    assert dense.grad is before[1]
    assert torch.equal(sparse.grad.to_dense(), rows_of(gradient(0, 6, 4), [1, 2]).to_dense())
    optimizer.zero_grad()
    assert sparse.grad is None


def test_the_state_comes_back_with_its_momentum():
    def trained(parameter, optimizer, steps):
        for step in steps:
            parameter.grad = rows_of(gradient(step, 6, 4), [step % 6, (step + 3) % 6])
            optimizer.step()

    whole = table()
    trained(whole, SparseSGD([whole], **FULL), range(8))
    first = table()
    optimizer = SparseSGD([first], **FULL)
    trained(first, optimizer, range(5))
    second = nn.Parameter(first.detach().clone())
    other = SparseSGD([second], lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(momentum_of(other, second), momentum_of(optimizer, first))
    trained(second, other, range(5, 8))
    assert torch.equal(second, whole)


def test_each_group_has_its_own_settings_and_a_changed_rate_counts():
    one, two = table(), table()
    optimizer = SparseSGD([{"params": [one]}, {"params": [two], "lr": 0.5, "weight_decay": 0.1}], lr=0.1)
    for parameter in (one, two):
        parameter.grad = rows_of(gradient(0, 6, 4), [1])
    optimizer.step()
    torch.testing.assert_close(one[1], table()[1] - 0.1 * gradient(0, 6, 4)[1])
    torch.testing.assert_close(two[1], table()[1] - 0.5 * (gradient(0, 6, 4)[1] + 0.1 * table()[1]))
    before = one.detach().clone(), two.detach().clone()
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.0, 0.2
    optimizer.step()
    assert torch.equal(one, before[0])
    torch.testing.assert_close(two[1], before[1][1] - 0.2 * (gradient(0, 6, 4)[1] + 0.1 * before[1][1]))


def test_a_scheduler_drives_it():
    parameter = table()
    optimizer = SparseSGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    for rate in (1.0, 0.1):
        before = parameter.detach().clone()
        parameter.grad = rows_of(gradient(0, 6, 4), [2])
        optimizer.step()
        scheduler.step()
        torch.testing.assert_close(parameter[2], before[2] - rate * gradient(0, 6, 4)[2])


def test_a_closure_is_called_and_its_loss_comes_back():
    embedding = nn.Embedding(6, 4, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = SparseSGD(embedding.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = embedding(torch.tensor([1, 1, 5])).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == pytest.approx(before[[1, 1, 5]].sum().item(), abs=1e-5)
    expected = before - 0.1 * torch.tensor([0.0, 2, 0, 0, 0, 1])[:, None]
    torch.testing.assert_close(embedding.weight.detach(), expected)


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"lr": 0.1, "momentum": -0.5}, {"lr": 0.1, "weight_decay": -1.0}])
def test_a_bad_setting_is_an_error(settings):
    with pytest.raises(ValueError, match="Invalid"):
        SparseSGD([table()], **settings)


@pytest.mark.parametrize("sparse", [False, True])
def test_nesterov_longhand(sparse):
    """v = m v + g, w = w - r (g + m v), with g the gradient plus the decay."""
    weight = nn.Parameter(torch.tensor([[2.0], [-1.0]]))
    optimizer = SparseSGD([weight], 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    expected, velocity = weight.detach().clone(), torch.zeros(2, 1)
    for step in range(3):
        gradient = torch.tensor([[1.0 + step], [0.5]])
        weight.grad = gradient.to_sparse(1) if sparse else gradient.clone()
        optimizer.step()
        total = gradient + 0.01 * expected
        velocity = 0.9 * velocity + total
        expected = expected - 0.1 * (total + 0.9 * velocity)
        torch.testing.assert_close(weight.detach(), expected)
