"""Faster copies of networks: the same outputs up to rounding, with fewer steps, in groups of images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afield.launch.local import cpu_threads
from afield.models import BackboneConfig, build_backbone, computation, fast_inference
from afield.models.fusion import FusedConvolution
from afield.models.inference import InGroups

NETWORKS = {
    # name: side, convolutions, of them with an activation, batch normalization that stays
    "tf_efficientnet_lite0": (64, 49, 33, 0),
    "mobilenetv3_small_100": (64, 53, 33, 0),
    "resnet18": (64, 20, 9, 0),
    "resnet8": (32, 9, 4, 0),
    "resnet8_ibn": (32, 9, 0, 4),  # batch normalization of half of the channels
    "whitened_vgg_narrow": (32, 7, 0, 3),  # batch normalization after pooling
    "test_vit": (160, 1, 0, 0),
}


def trained_like(name):
    """A network whose batch normalization has other statistics than 0 and 1, in training mode."""
    network, _ = build_backbone(BackboneConfig(name))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.train()


def images(count, side):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_outputs_stay_and_normalization_and_activations_move_into_convolutions(name):
    side, convolutions, activations, norms = NETWORKS[name]
    network, batch = trained_like(name), images(3, side)
    faster = fast_inference(network, (side, side))
    assert network.training
    expected = network.eval()(batch)
    assert (faster(batch) - expected).abs().max() <= 1e-5 * expected.abs().max()
    found = [module for module in faster.modules() if isinstance(module, FusedConvolution)]
    assert len(found) == convolutions
    assert sum(module.name != "none" for module in found) == activations
    assert sum(isinstance(module, nn.BatchNorm2d) for module in faster.modules()) == norms


@torch.no_grad()
def test_bfloat16_is_near_and_its_outputs_are_float32():
    network, batch = trained_like("tf_efficientnet_lite0").eval(), images(4, 64)
    found, expected = fast_inference(network, (64, 64), "bf16")(batch), network(batch)
    assert found.dtype == torch.float32
    assert 1e-4 < (found - expected).norm() / expected.norm() < 0.03  # 8 bits


class Twice(nn.Module):
    """One convolution that is used twice, with batch normalization after its first use only."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()
        self.norm.running_mean.fill_(0.3)

    def forward(self, x):
        return self.act(self.conv(self.norm(self.conv(x)))).mean(dim=(2, 3))


class Shared(nn.Module):
    """A convolution whose output is used before and after batch normalization."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(0.3)

    def forward(self, x):
        x = self.conv(x)
        return (x * self.norm(x)).mean(dim=(2, 3))


@pytest.mark.parametrize("kind", [Twice, Shared])
@torch.no_grad()
def test_what_is_used_twice_is_not_folded(kind):
    network, batch = kind().eval(), images(2, 8)
    faster = fast_inference(network, (8, 8))
    assert isinstance(faster.network, torch.fx.GraphModule)
    assert any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    torch.testing.assert_close(faster(batch), network(batch), rtol=1e-5, atol=1e-6)


class Branches(nn.Module):
    """A network that cannot be traced, because it looks at values."""

    def forward(self, x):
        return x.mean(dim=(2, 3)) if x.sum() > 0 else x.amax(dim=(2, 3))


class Recording(nn.Module):
    """Traces to a constant, so that the traced network is wrong for other images."""

    def forward(self, x):
        return x.mean(dim=(2, 3)) * float(torch.rand(()) + 1)


@pytest.mark.parametrize("kind", [Branches, Recording])
@torch.no_grad()
def test_a_network_that_cannot_be_traced_correctly_is_only_computed_in_groups(kind):
    faster = fast_inference(kind(), (8, 8))
    assert type(faster.network) is kind
    assert faster(images(5, 8)).shape == (5, 3)


class Sizes(nn.Module):
    """Means over pixels, which notes the number of images of each call."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        return x.mean(dim=(2, 3))


def test_groups_have_as_many_images_as_their_pixels_allow():
    sizes, batch = Sizes(), images(9, 224)
    assert torch.equal(InGroups(sizes, torch.float32)(batch), batch.mean(dim=(2, 3)))
    InGroups(sizes, torch.float32)(torch.zeros(2, 3, 600, 600))
    assert sorted(sizes.seen) == [1, 1, 1, 4, 4]


@torch.no_grad()
def test_outputs_do_not_depend_on_the_number_of_threads():
    faster, batch = fast_inference(trained_like("tf_efficientnet_lite0"), (64, 64)), images(101, 64)
    found = []
    for threads in (1, 2):
        with cpu_threads(threads):
            found.append(faster(batch))
            assert torch.get_num_threads() == threads
    assert torch.equal(*found)
    assert not found[1].is_inference()


def test_the_computation_names_device_and_precision():
    assert computation(torch.device("cpu"), "32") == "fused 32"
    assert computation(torch.device("cuda", 0), "bf16") == "eager bf16"
