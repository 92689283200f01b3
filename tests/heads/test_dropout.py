"""Dropout draws what PyTorch draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afield.heads import dropout as module
from afield.heads.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.2, 1 / 3, 0.5, 0.99])
@pytest.mark.parametrize("transposed", [False, True])
def test_dropout_has_the_result_the_gradient_and_the_random_numbers_of_pytorch(dtype, p, transposed):
    features = torch.randn(31, 17, generator=torch.Generator().manual_seed(0)).to(dtype)
    features = (features.T if transposed else features).requires_grad_()
    found = []
    for kind in (nn.Dropout, Dropout):
        torch.manual_seed(1)
        output = kind(p)(features)
        (gradient,) = torch.autograd.grad(output.float().square().sum(), features)
        found.append((output, gradient, torch.get_rng_state()))
    assert all(map(torch.equal, *found))


def test_dropout_keeps_the_expected_fraction_and_does_nothing_in_evaluation():
    torch.manual_seed(0)
    dropout, ones = Dropout(0.2), torch.ones(500, 200)
    kept = dropout(ones)
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    assert (kept > 0).float().mean().item() == pytest.approx(0.8, abs=0.005)  # 4 standard errors
    assert dropout.eval()(ones) is ones


def test_a_mask_that_was_drawn_before_is_remembered_with_the_state_of_the_generator_after_it():
    features, found = torch.randn(7, 11, generator=torch.Generator().manual_seed(0)), []
    module._drawn.cache_clear()
    for _ in range(2):
        torch.manual_seed(3)
        found.append((Dropout(0.3)(features), Dropout(0.3)(features), torch.get_rng_state()))
    assert module._drawn.cache_info()[:2] == (2, 2)  # hits and misses
    assert all(map(torch.equal, *found))
    assert not torch.equal(found[0][0], found[0][1])


def test_a_large_mask_is_not_remembered_and_is_the_same(monkeypatch):
    features, found = torch.ones(7, 11), []
    for size in (77, 76):
        monkeypatch.setattr(module, "MASK_SIZE", size)
        module._drawn.cache_clear()
        torch.manual_seed(3)
        found.append(Dropout(0.3)(features))
        assert module._drawn.cache_info().currsize == size - 76
    assert torch.equal(*found)
