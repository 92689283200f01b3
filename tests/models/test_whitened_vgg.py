"""The network of whitened patches: what passes through it at first, and what it trains."""

from __future__ import annotations

import torch

from afield.models import WhitenedVGG


def test_convolutions_begin_by_passing_their_input_through():
    torch.manual_seed(0)
    stage = WhitenedVGG((32, 64, 128)).stages[0]
    x = torch.randn(2, 24, 7, 7)
    found = stage.conv1(x)
    assert found.shape == (2, 32, 7, 7)
    torch.testing.assert_close(found[:, :24], x)
    assert not torch.allclose(found[:, 24:], x[:, :8])
    torch.testing.assert_close(stage.conv2(found), found)


def test_the_network_trains_neither_its_filters_nor_the_scales_of_batch_normalization():
    model = WhitenedVGG()
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert "whiten.bias" in trained
    assert not any(name == "whiten.weight" or ("norm" in name and name.endswith("weight")) for name in trained)
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert sum(trained.values()) == 24 + convolutions + 2 * (64 + 256 + 256)
