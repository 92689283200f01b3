"""Parts of augmentations whose defaults and fallbacks nothing else shows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms.parts.image_generator import ImageGenerator
from afield.augment.learned.discriminator import Discriminator
from afield.augment.learned.loop import LearnState
from afield.augment.networks.localization import Localization
from afield.augment.networks.variants import VariantNetwork
from afield.augment.spatial import crop


@pytest.mark.parametrize("size", [(8, 8), (24, 30)])
def test_bytes_are_resized_by_way_of_floats_where_there_is_no_kernel_for_them(size, monkeypatch):
    images = torch.randint(256, (2, 3, 16, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    exact = F.interpolate(images.double(), size, mode="bilinear", antialias=True, align_corners=False)
    monkeypatch.setattr(crop, "BYTES_AS_BYTES", False)
    found = crop.resize(images, size)
    assert found.dtype == torch.uint8
    assert (found.double() - exact).abs().max() <= 0.5 + 1e-4
    assert torch.equal(crop.resize(images[:, :, :8, :8].float(), (8, 8)), images[:, :, :8, :8].float())


def test_the_layers_of_a_localization_network():
    network = Localization(6)
    convs = [layer for layer in network.trunk if isinstance(layer, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(3, 16), (16, 32)]
    assert all((conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (2, 2), (1, 1)) for conv in convs)
    assert (network.hidden.in_features, network.hidden.out_features, network.out.in_features) == (512, 64, 64)
    assert Localization(6, 5).hidden.in_features == 517
    assert not network.out.weight.any()
    assert not network.out.bias.any()
    nn.init.normal_(network.out.weight, generator=torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    small = images.unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean(dim=(3, 5)) - 0.5
    x = convs[1](convs[0](small).relu()).relu().flatten(1)
    expected = network.out(network.hidden(x).relu())
    torch.testing.assert_close(network(images, torch.zeros(2, 0)), expected)


def test_learning_starts_at_nothing():
    state = LearnState()
    assert (state.epoch, state.position, state.seconds, state.epochs) == (0, 0, 0.0, [])


@pytest.mark.parametrize(
    ("network", "convolutions"),
    [
        (Discriminator(), [(3, 16, 4, 2), (16, 32, 4, 2), (32, 64, 4, 2)]),
        (Discriminator(8, 6), [(6, 8, 4, 2), (8, 16, 4, 2), (16, 32, 4, 2)]),
        (ImageGenerator(2), [(5, 16, 3, 1), (16, 32, 3, 2), *4 * [(32, 32, 3, 1)], (32, 16, 3, 1), (16, 3, 3, 1)]),
        (
            VariantNetwork(5, 8),
            [
                *((3, 8, 3, 1), (8, 16, 3, 2), (16, 32, 3, 2), (40, 32, 3, 1), (48, 16, 3, 1), (24, 8, 3, 1)),
                (8, 4, 3, 1),
            ],
        ),
    ],
)
def test_the_convolutions_of_a_network(network, convolutions):
    """Channels in, channels out, side and stride."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    found = [(layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in layers]
    assert found == convolutions
    assert all(layer.padding == (1, 1) for layer in layers)
    assert {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)} <= {0.2}
    assert {layer.num_groups for layer in network.modules() if isinstance(layer, nn.GroupNorm)} <= {4}
