"""CrossGrad: where images are moved to, and which network learns from what."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms import Batch, CrossGrad
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective


def make(step: float = 0.5, share: float = 0.5, rows: int = 8) -> tuple[CrossGrad, Batch]:
    """In float64, with a linear domain network, whose gradients can be written down."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5), nn.Tanh())
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    algorithm = CrossGrad(classifier, [4, 4], step=step, share=share)
    algorithm.domain_network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
    images = torch.rand(rows, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return algorithm.double(), Batch(images, torch.arange(rows) % 3, torch.arange(rows) % 2, torch.arange(rows), 0.5)


def moved_by_domain(algorithm: CrossGrad, batch: Batch) -> Tensor:
    """The slope of an image's own cross-entropy is ``W' (p - one_hot)`` for a linear network."""
    linear = algorithm.domain_network[1]
    errors = linear(batch.inputs.flatten(1)).softmax(1) - F.one_hot(batch.domains, 2)
    return batch.inputs + algorithm.step * (errors @ linear.weight).view_as(batch.inputs).detach()


def moved_by_class(algorithm: CrossGrad, batch: Batch) -> Tensor:
    """By central differences of each image's own loss, along every pixel."""
    slopes = torch.zeros_like(batch.inputs)
    with torch.no_grad():
        for pixel in range(48):
            step = torch.zeros(48, dtype=torch.float64)
            step[pixel] = 1e-6
            ends = [
                F.cross_entropy(
                    algorithm.classifier.logits(batch.inputs + sign * step.view(3, 4, 4)),
                    batch.targets,
                    reduction="none",
                )
                for sign in (1, -1)
            ]
            slopes.view(-1, 48)[:, pixel] = (ends[0] - ends[1]) / 2e-6
    return batch.inputs + algorithm.step * slopes


def test_the_losses_are_those_on_images_as_they_are_and_moved_along_the_other_one_s_gradient():
    algorithm, batch = make(share=0.3)
    terms = algorithm(batch)
    classifier, network = algorithm.classifier, algorithm.domain_network
    moved = moved_by_domain(algorithm, batch)
    expected = 0.7 * classifier(batch.inputs, batch.targets) + 0.3 * classifier(moved, batch.targets)
    torch.testing.assert_close(terms["objective"], expected)
    moved = moved_by_class(algorithm, batch)
    expected = 0.7 * F.cross_entropy(network(batch.inputs), batch.domains)
    expected = expected + 0.3 * F.cross_entropy(network(moved), batch.domains)
    torch.testing.assert_close(terms["domain"], expected, rtol=1e-7, atol=0)


def test_each_network_learns_from_its_own_loss_as_if_moved_images_were_given():
    algorithm, batch = make(step=2.0)
    classifier, network = algorithm.classifier, algorithm.domain_network
    terms = algorithm(batch)
    found = torch.autograd.grad(sum(terms.values()), [*classifier.parameters(), *network.parameters()])
    moved = moved_by_domain(algorithm, batch)
    own = 0.5 * classifier(batch.inputs, batch.targets) + 0.5 * classifier(moved, batch.targets)
    expected = torch.autograd.grad(own, list(classifier.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, expected, strict=False))
    moved = moved_by_class(algorithm, batch)
    own = 0.5 * F.cross_entropy(network(batch.inputs), batch.domains) + 0.5 * F.cross_entropy(
        network(moved), batch.domains
    )
    expected = torch.autograd.grad(own, list(network.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(found[-2:], expected, strict=True))


def test_moved_images_are_harder_to_place_and_each_is_moved_alike_in_any_batch():
    algorithm, batch = make(step=0.2)
    images = batch.inputs.detach().requires_grad_()
    loss = F.cross_entropy(algorithm.domain_network(images), batch.domains)
    moved = algorithm.moved(images, loss)
    assert F.cross_entropy(algorithm.domain_network(moved), batch.domains) > loss
    alone = images[:1].detach().requires_grad_()
    loss = F.cross_entropy(algorithm.domain_network(alone), batch.domains[:1])
    torch.testing.assert_close(algorithm.moved(alone, loss), moved[:1])


def test_without_a_step_both_networks_see_the_images_twice():
    algorithm, batch = make(step=0.0)
    terms = algorithm(batch)
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets))
    plain = F.cross_entropy(algorithm.domain_network(batch.inputs), batch.domains)
    torch.testing.assert_close(terms["domain"], plain)


def test_the_domain_network_learns_to_tell_bright_images_from_dark_ones():
    torch.manual_seed(0)
    network = CrossGrad(make()[0].classifier, [4, 4]).domain_network
    domains = torch.arange(32) % 2
    images = 0.2 * torch.rand(32, 3, 9, 11) + 0.4 * domains[:, None, None, None]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(network(images), domains).backward()
        optimizer.step()
    with torch.no_grad():
        assert (network(images).argmax(1) == domains).all()


@pytest.mark.parametrize("options", [{"step": -1.0}, {"share": 1.5}, {"step": float("nan")}])
def test_an_option_out_of_bounds_is_an_error(options):
    with pytest.raises(ValueError, match="got"):
        CrossGrad(make()[0].classifier, [4, 4], **options)
