"""DDAIG: the changed images, and which network learns from what."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms import DDAIG, Batch, total
from afield.algorithms.parts.perturbation_network import PerturbationNetwork
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective


def make(**options: float) -> tuple[DDAIG, Batch]:
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    domains = torch.arange(12) % 2
    images = 0.5 * torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.4 * domains.view(-1, 1, 1, 1)
    batch = Batch(images.double(), torch.arange(12) % 3, domains, torch.arange(12), 0.5)
    return DDAIG(classifier, [6, 6], width=8, **options).double().train(), batch


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True))


def same(found: list[Tensor | None], expected: list[Tensor | None]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-6, atol=1e-12) for a, b in zip(found, expected, strict=True))


def test_the_terms_by_hand():
    algorithm, batch = make(strength=0.2, share=0.3)
    terms = algorithm(batch)
    classifier, network = algorithm.classifier, algorithm.domain_network
    changed = batch.inputs + 0.2 * algorithm.perturbation(batch.inputs)
    objective = 0.7 * classifier(batch.inputs, batch.targets) + 0.3 * classifier(changed, batch.targets)
    torch.testing.assert_close(terms["objective"], objective)
    torch.testing.assert_close(terms["domain"], F.cross_entropy(network(batch.inputs), batch.domains))
    torch.testing.assert_close(terms["fooled"], -F.cross_entropy(network(changed), batch.domains))
    assert list(terms) == ["objective", "domain", "fooled"]


def test_each_network_learns_from_its_own_loss_alone():
    """The losses of the paper's algorithm, each with the other two networks as constants."""
    algorithm, batch = make(strength=0.2, share=0.25)
    classifier, network, perturbation = algorithm.classifier, algorithm.domain_network, algorithm.perturbation
    found = total(algorithm(batch))
    changed = batch.inputs + 0.2 * perturbation(batch.inputs)
    kept, told = classifier(changed, batch.targets), F.cross_entropy(network(changed), batch.domains)
    own = 0.75 * classifier(batch.inputs, batch.targets) + 0.25 * kept
    assert same(gradients(found, classifier), gradients(own, classifier))
    domain = F.cross_entropy(network(batch.inputs), batch.domains)
    assert same(gradients(found, network), gradients(domain, network))
    assert same(gradients(found, perturbation), gradients(kept - told, perturbation))


def test_the_changed_images_fool_the_domain_network_after_a_few_steps():
    algorithm, batch = make(strength=0.5)
    optimizer = torch.optim.Adam(algorithm.perturbation.parameters(), 0.01)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        terms = algorithm(batch)
        (terms["objective"] + terms["fooled"]).backward()
        optimizer.step()
        losses.append(-float(terms["fooled"].detach()))
    assert losses[-1] > losses[0] + 0.1


@pytest.mark.parametrize(("height", "width"), [(2, 2), (15, 11)])
def test_a_change_has_the_shape_of_the_image_and_is_bounded_by_the_strength(height, width):
    torch.manual_seed(0)
    network, images = PerturbationNetwork(8), torch.rand(2, 3, height, width)
    with torch.no_grad():
        network.leave.weight.mul_(1e6)
        change = network(images)
        assert change.shape == images.shape
        assert float(change.abs().max()) == pytest.approx(1)
        torch.testing.assert_close(network(images[:1]), change[:1])  # independent of the batch


def test_layers_of_the_network_that_changes_images():
    torch.manual_seed(0)
    network = DDAIG(make()[0].classifier, [6, 6]).perturbation
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convs] == [
        (3, 32, 3),
        *6 * [(32, 32, 3)],
        (64, 32, 1),
        (32, 3, 1),
    ]
    assert sum(isinstance(module, nn.InstanceNorm2d) for module in network.modules()) == 8
    assert all(float(conv.weight.detach().std()) == pytest.approx(0.02, rel=0.25) for conv in convs)
    assert [conv.padding_mode for conv in convs[:7]] == ["reflect"] * 7
    assert network.leave.bias.tolist() == [0, 0, 0]


def test_ddaig_needs_images_and_two_domains():
    assert (DDAIG.needs, DDAIG.domains_at_least) == ("images", 2)
