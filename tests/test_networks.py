"""The small networks of algorithms and augmentations, computed with PyTorch's functions from their weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms.masf import MASF
from afield.algorithms.mmd_aae import two_layers
from afield.algorithms.mmld import MMLD
from afield.algorithms.parts.discriminator import Discriminator as PlaceDiscriminator
from afield.algorithms.parts.domain_network import DomainNetwork
from afield.algorithms.parts.image_generator import ImageGenerator
from afield.augment.learned.cyclegan.patches import PatchDiscriminator
from afield.augment.learned.dagan.critic import Critic
from afield.augment.learned.discriminator import Discriminator
from afield.augment.networks.localization import Localization
from afield.augment.networks.translator import Translator, TranslatorConfig
from afield.augment.networks.variants import VariantNetwork
from afield.models import ResNet8
from tests.classifiers import small_classifier


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def images(count=4, height=12, width=8):
    return torch.rand(count, 3, height, width)


def weights(module, shapes):
    """The weights in their order; their shapes are those given."""
    found = [parameter.detach() for parameter in module.parameters()]
    assert [tuple(weight.shape) for weight in found] == shapes
    return found


@pytest.mark.parametrize(("network", "channels"), [(Discriminator(), 3), (Discriminator(8, 5), 5), (Critic(), 6)])
def test_a_discriminator_of_images(network, channels):
    w = 8 if channels == 5 else 16
    shapes = [(w, channels, 4, 4), (w,), (2 * w, w, 4, 4), (2 * w,), (4 * w, 2 * w, 4, 4), (4 * w,), (1, 4 * w), (1,)]
    *convolutions, out, bias = weights(network, shapes)
    batch = torch.rand(4, channels, 12, 8)
    x = 2 * batch - 1
    for weight, offset in zip(convolutions[::2], convolutions[1::2], strict=True):
        x = F.leaky_relu(F.conv2d(x, weight, offset, stride=2, padding=1), 0.2)
    expected = (x.mean(dim=(2, 3)) @ out.T + bias)[:, 0]
    found = network(batch[:, :3], batch[:, 3:]) if channels == 6 else network(batch)
    torch.testing.assert_close(found, expected)


def test_a_discriminator_of_places():
    network = PlaceDiscriminator(5, 7)
    first, a, second, b, out, c = weights(network, [(7, 5), (7,), (7, 7), (7,), (1, 7), (1,)])
    assert [layer.p for layer in network.layers if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    x = torch.randn(6, 5, requires_grad=True)
    hidden = (((x @ first.T + a).relu()) @ second.T + b).relu()
    logits = (hidden @ out.T + c)[:, 0]
    network.eval()
    torch.testing.assert_close(network(x), logits)
    source, target = network.losses(x[:4], x[4:], 0.3)
    torch.testing.assert_close(source, -logits[:4].sigmoid().log())
    torch.testing.assert_close(target, -(1 - logits[4:].sigmoid()).log())
    (slope,) = torch.autograd.grad(source.sum() + target.sum(), x)
    plain = -logits[:4].sigmoid().log().sum() - (1 - logits[4:].sigmoid()).log().sum()
    torch.testing.assert_close(slope, -0.3 * torch.autograd.grad(plain, x)[0])


def test_two_layers():
    network = two_layers(3, 4, 2)
    first, a, second, b = weights(network, [(4, 3), (4,), (2, 4), (2,)])
    x = torch.randn(5, 3)
    torch.testing.assert_close(network(x), (x @ first.T + a).relu() @ second.T + b)


def test_the_embedding_of_masf():
    algorithm = MASF(small_classifier(), [3, 3])
    first, a, second, b = weights(algorithm.embedding, [(1024, 5), (1024,), (256, 1024), (256,)])
    x = torch.randn(6, 5)
    expected = F.leaky_relu(F.leaky_relu(x @ first.T + a, 0.2) @ second.T + b, 0.2)
    torch.testing.assert_close(algorithm.embedding(x), expected)


def test_a_network_of_domains():
    network = DomainNetwork(5)
    shapes = [(16, 3, 3, 3), (16,), (16,), (32, 16, 3, 3), (32,), (32,), (64, 32, 3, 3), (64,), (64,), (5, 64), (5,)]
    *layers, out, bias = weights(network, shapes)
    batch = images()
    x = 2 * batch - 1
    for i in range(0, 9, 3):
        x = F.conv2d(x, layers[i], stride=2, padding=1)
        x = F.batch_norm(x, None, None, layers[i + 1], layers[i + 2], training=True).relu()
    features = x.mean(dim=(2, 3))
    torch.testing.assert_close(network(batch), features @ out.T + bias)
    batch.requires_grad_()
    frozen = network.frozen_features(batch)
    assert not network.layers.training
    torch.testing.assert_close(frozen, network.layers(2 * batch - 1))
    frozen.sum().backward()
    assert batch.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in network.parameters())


def test_a_generator_of_images_of_other_domains():
    network = ImageGenerator(2)
    nn.init.normal_(network.mean.weight)
    block = [(32, 32, 3, 3), (32,)]
    shapes = [(16, 5, 3, 3), (16,), (32, 16, 3, 3), (32,), *4 * block, (16, 32, 3, 3), (16,), (3, 16, 3, 3), (3,)]
    found = weights(network, [*shapes, (2, 3), (2, 3)])
    batch, domains = images(3, 12, 8), torch.tensor([0, 1, 1])
    odds = (batch.clamp(0.01, 0.99) / (1 - batch.clamp(0.01, 0.99))).log()
    mean, variance = odds.mean(dim=(2, 3), keepdim=True), odds.var(dim=(2, 3), keepdim=True, correction=0)
    content = (odds - mean) / (variance + 1e-5).sqrt()
    maps = torch.stack([domains == 0, domains == 1], dim=1).float()[:, :, None, None].expand(3, 2, 12, 8)
    x = F.conv2d(torch.cat([content, maps], dim=1), found[0], found[1], padding=1).relu()
    x = F.conv2d(x, found[2], found[3], stride=2, padding=1).relu()
    for i in range(4, 12, 2):
        x = x + F.conv2d(x, found[i], found[i + 1], padding=1).relu()
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = F.conv2d(x, found[12], found[13], padding=1).relu()
    x = content + F.conv2d(x, found[14], found[15], padding=1)
    means, deviations = (table[domains][:, :, None, None] for table in (found[16], found[17].exp()))
    torch.testing.assert_close(network(batch, domains), (x * deviations + means).sigmoid())


def test_a_localization_network():
    network = Localization(12, noise=2)
    shapes = [(16, 3, 3, 3), (16,), (32, 16, 3, 3), (32,), (64, 514), (64,), (12, 64), (12,)]
    first, a, second, b, hidden, c, out, d = weights(network, shapes)
    assert out.abs().sum() == d.abs().sum() == 0
    batch, noise = images(3, 32, 32), torch.randn(3, 2)
    assert torch.equal(network(batch, noise), torch.zeros(3, 12))
    nn.init.normal_(network.out.weight)
    nn.init.normal_(network.out.bias)
    x = batch.unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean(dim=(3, 5)) - 0.5
    x = F.conv2d(F.conv2d(x, first, a, stride=2, padding=1).relu(), second, b, stride=2, padding=1).relu()
    x = (torch.cat([x.flatten(1), noise], dim=1) @ hidden.T + c).relu()
    torch.testing.assert_close(network(batch, noise), x @ out.T + d)


def test_a_network_of_variants():
    network = VariantNetwork(5, 4)

    def block(entering, leaving):
        return [(leaving, entering, 3, 3), (leaving,), (leaving,)]

    ends = [(64, 5), (64,)]
    shapes = [*block(3, 4), *block(4, 8), *block(8, 16), *ends, *block(20, 16), *block(24, 8), *block(12, 4)]
    found = weights(network, [*shapes, (4, 4, 3, 3), (4,)])

    def apply(x, index, stride=1):
        x = F.conv2d(x, found[index], stride=stride, padding=1)
        return F.leaky_relu(F.group_norm(x, 4, found[index + 1], found[index + 2]), 0.2)

    batch, noise = images(3, 16, 12), torch.randn(3, 5)
    entry = apply(2 * batch - 1, 0)
    down = apply(entry, 3, stride=2)
    bottom = apply(down, 6, stride=2)
    drawn = (noise @ found[9].T + found[10]).view(3, 4, 4, 4)
    drawn = F.interpolate(drawn, (4, 3), mode="bilinear")
    deep = apply(torch.cat([drawn, bottom], dim=1), 11)
    up = apply(torch.cat([F.interpolate(deep, (8, 6)), down], dim=1), 14)
    out = apply(torch.cat([F.interpolate(up, (16, 12)), entry], dim=1), 17)
    out = F.conv2d(out, found[20], found[21], padding=1).sigmoid()
    share = out[:, 3:]
    torch.testing.assert_close(network(batch, noise), (1 - share) * batch + share * out[:, :3])


def instance_norm(x):
    return (x - x.mean(dim=(2, 3), keepdim=True)) / (x.var(dim=(2, 3), keepdim=True, correction=0) + 1e-5).sqrt()


def test_a_translator():
    network = Translator(TranslatorConfig(width=4, blocks=2))

    def apply(x, index, stride=1):
        return instance_norm(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), found[index], stride=stride))

    shapes = [(4, 3, 3, 3), (8, 4, 3, 3), *4 * [(8, 8, 3, 3)], (4, 8, 3, 3), (3, 4, 3, 3), (3,)]
    found = weights(network, shapes)
    batch = images(3, 11, 16)
    x = apply(apply(2 * batch - 1, 0).relu(), 1, stride=2).relu()
    for index in (2, 4):
        x = x + apply(apply(x, index).relu(), index + 1)
    x = apply(F.interpolate(x, (11, 16)), 6).relu()
    x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), found[7], found[8]).tanh()
    torch.testing.assert_close(2 * network(batch) - 1, x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]))


def test_a_discriminator_of_patches():
    network = PatchDiscriminator(4)
    shapes = [(4, 3, 4, 4), (4,), (8, 4, 4, 4), (16, 8, 3, 3), (1, 16, 3, 3), (1,)]
    first, a, second, third, last, b = weights(network, shapes)
    batch = images(3, 16, 12)
    x = F.leaky_relu(F.conv2d(2 * batch - 1, first, a, stride=2, padding=1), 0.2)
    x = F.leaky_relu(instance_norm(F.conv2d(x, second, stride=2, padding=1)), 0.2)
    x = F.leaky_relu(instance_norm(F.conv2d(x, third, padding=1)), 0.2)
    expected = F.conv2d(x, last, b, padding=1)[:, 0]
    assert expected.shape == (3, 4, 3)
    torch.testing.assert_close(network(batch), expected, atol=1e-4, rtol=1e-4)
    assert network(images(1, 8, 8)).shape == (1, 2, 2)


def test_the_discriminator_of_mmld_sees_directions():
    classifier = small_classifier()
    classifier.backbone = ResNet8(width=8)
    algorithm = MMLD(classifier, [6, 6], clusters=3, hidden=9)
    network = next(module for name, module in algorithm.named_children() if isinstance(module, nn.Sequential))
    first, a, second, b, out, c = weights(network, [(9, 5), (9,), (9, 9), (9,), (3, 9), (3,)])
    network.eval()
    x = torch.randn(4, 5)
    unit = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(network(x), ((unit @ first.T + a).relu() @ second.T + b).relu() @ out.T + c)
