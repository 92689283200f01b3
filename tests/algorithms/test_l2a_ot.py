"""L2A-OT: transport against exact solvers, the generator, and who learns from what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment, linprog
from torch import Tensor, nn

from afield.algorithms import L2AOT, Batch, total
from afield.algorithms.parts.image_generator import ImageGenerator
from afield.algorithms.parts.optimal_transport import transport_distance, transport_plan
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective


def random_cost(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_cost(cost: np.ndarray) -> float:
    """By linear programming."""
    rows, columns = cost.shape
    sums = np.concatenate([np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))])
    weights = np.repeat([1 / rows, 1 / columns], [rows, columns])
    return linprog(cost.ravel(), A_eq=sums, b_eq=weights).fun


# Transport


@pytest.mark.parametrize("seed", [1, 2])
def test_the_plan_of_a_small_blur_is_the_best_assignment(seed):
    cost = random_cost(12, 12, seed)
    plan = transport_plan(cost, blur=1e-3, rounds=5000)
    rows, columns = linear_sum_assignment(cost.numpy())
    best = np.zeros((12, 12))
    best[rows, columns] = 1 / 12
    np.testing.assert_allclose(plan.numpy(), best, atol=1e-3)
    assert float((plan * cost).sum()) == pytest.approx(cost.numpy()[rows, columns].mean(), abs=1e-3)


def test_the_plan_between_different_numbers_of_points_costs_what_linear_programming_finds():
    cost = random_cost(5, 8)
    plan = transport_plan(cost, blur=2e-3, rounds=3000)
    assert float((plan * cost).sum()) == pytest.approx(exact_cost(cost.numpy()), abs=2e-3)
    torch.testing.assert_close(plan.sum(dim=1), torch.full((5,), 1 / 5, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((8,), 1 / 8, dtype=torch.float64), rtol=1e-3, atol=0)


def test_the_plan_of_two_by_two_by_hand():
    """With costs 0 on the diagonal and c off it, mass off it is a half of ``1 / (1 + exp(c / blur))`` in each place."""
    cost = torch.tensor([[0.0, 0.3], [0.3, 0.0]], dtype=torch.float64)
    plan = transport_plan(cost, blur=0.1, rounds=50)
    assert float(plan[0, 1]) == pytest.approx(0.5 / (1 + np.exp(3)))
    assert float(plan[0, 0]) == pytest.approx(0.5 / (1 + np.exp(-3)))


def test_a_large_blur_spreads_everything_and_a_tiny_one_does_not_overflow():
    cost = random_cost(4, 6).float()
    torch.testing.assert_close(transport_plan(cost, blur=1e4, rounds=3), torch.full((4, 6), 1 / 24), rtol=1e-3, atol=0)
    tiny = transport_plan(cost, blur=1e-5, rounds=200)
    assert tiny.isfinite().all()
    torch.testing.assert_close(tiny.sum(dim=1), torch.full((4,), 1 / 4), rtol=1e-2, atol=0)


def test_the_distance_and_its_gradient_are_those_of_exact_transport_with_cosines():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(count, 4, generator=generator, dtype=torch.float64) for count in (5, 7))

    def exact(points: Tensor) -> float:
        return exact_cost((1 - F.cosine_similarity(points[:, None], y[None], dim=2)).numpy())

    leaf = x.clone().requires_grad_()
    found = transport_distance(leaf, y, blur=5e-4, rounds=10_000)
    assert float(found.detach()) == pytest.approx(exact(x), abs=1e-3)
    found.backward()
    slopes = torch.zeros_like(x)
    for place in itertools.product(range(5), range(4)):
        ends = []
        for step in (1e-5, -1e-5):
            moved = x.clone()
            moved[place] += step
            ends.append(exact(moved))
        slopes[place] = (ends[0] - ends[1]) / 2e-5
    torch.testing.assert_close(leaf.grad, slopes, atol=2e-3, rtol=0)


def test_the_distance_is_zero_to_itself_and_two_to_the_opposite():
    points = torch.eye(4, dtype=torch.float64)
    assert float(transport_distance(points, 3 * points.flip(0), blur=1e-3, rounds=100)) == pytest.approx(0, abs=1e-9)
    ones = torch.ones(3, 2)
    assert float(transport_distance(ones, -5 * ones)) == pytest.approx(2)


# Generator


@pytest.mark.parametrize(("height", "width"), [(8, 8), (15, 11), (32, 33)])
def test_a_generator_keeps_the_shape_and_draws_each_domain_otherwise(height, width):
    torch.manual_seed(0)
    generator, images = ImageGenerator(4), torch.rand(2, 3, height, width)
    with torch.no_grad():
        found = [generator(images, torch.full((2,), domain)) for domain in range(4)]
    for drawn in found:
        assert drawn.shape == images.shape
        assert drawn.min() >= 0
        assert drawn.max() <= 1
    assert all((a - b).abs().mean() > 0.02 for a, b in itertools.combinations(found, 2))


def test_what_is_drawn_has_the_domain_s_mean_and_deviation_whatever_those_of_the_image():
    torch.manual_seed(0)
    generator = ImageGenerator(2).double()
    odds, domains = torch.rand(3, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 1])
    dull = torch.tensor([0.5, 1.5, 1.0], dtype=torch.float64)[:, None, None] * odds - 0.7
    with torch.no_grad():
        drawn, same = generator(odds.sigmoid(), domains), generator(dull.sigmoid(), domains)
        torch.testing.assert_close(drawn, same, atol=1e-3, rtol=0)
        generator.leave.weight.zero_()
        generator.leave.bias.zero_()
        plain = generator(odds.sigmoid(), domains).logit().flatten(2)
    torch.testing.assert_close(plain.mean(dim=2), generator.mean.weight[domains].detach())
    deviation = generator.log_deviation.weight[domains].detach().exp()
    torch.testing.assert_close(plain.std(dim=2, correction=0), deviation, rtol=1e-3, atol=0)


# Algorithm


def make(progress: float = 0.5, **options: float) -> tuple[L2AOT, Batch]:
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    domains = torch.arange(12) % 2
    images = 0.5 * torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.4 * domains.view(-1, 1, 1, 1)
    batch = Batch(images.double(), torch.arange(12) % 3, domains, torch.arange(12), progress)
    return L2AOT(classifier, [6, 6], **options).double().train(), batch


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True))


def same(found: list[Tensor | None], expected: list[Tensor | None]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-6, atol=1e-10) for a, b in zip(found, expected, strict=True))


def test_the_terms_by_hand():
    algorithm, batch = make(share=0.3, distance=2.0, cycle=5.0)
    torch.manual_seed(4)
    terms = algorithm(batch)
    torch.manual_seed(4)
    novel = torch.randperm(12) % 2
    drawn = algorithm.generator(batch.inputs, 2 + novel)
    back = algorithm.generator(drawn, batch.domains)
    classifier, network = algorithm.classifier, algorithm.domain_network.eval()
    objective = 0.7 * classifier(batch.inputs, batch.targets) + 0.3 * classifier(drawn, batch.targets)
    torch.testing.assert_close(terms["objective"], objective)
    torch.testing.assert_close(terms["cycle"], 5 * (back - batch.inputs).abs().mean())
    real, false = network.layers(2 * batch.inputs - 1), network.layers(2 * drawn - 1)
    parts = [
        [points[which == domain] for domain in (0, 1)] for points, which in ((real, batch.domains), (false, novel))
    ]
    assert [len(part) for part in parts[1]] == [6, 6]
    pairs = [float(transport_distance(a, b).detach()) for a in parts[1] for b in parts[0]]
    assert float(terms["novelty"].detach()) == pytest.approx(-2 * np.mean(pairs))
    assert float(terms["diversity"].detach()) == pytest.approx(-2 * float(transport_distance(*parts[1]).detach()))


def test_each_network_learns_from_its_own_terms_alone():
    """The classifier from the objective at full strength, the generator from ``keep`` times the loss on its images."""
    algorithm, batch = make(share=0.25, keep=3.0)
    torch.manual_seed(4)
    terms = algorithm(batch)
    classifier, generator = algorithm.classifier, algorithm.generator
    assert gradients(total(terms), algorithm.domain_network) == [None] * 8 + [None] * 3
    torch.manual_seed(4)
    drawn = generator(batch.inputs, 2 + torch.randperm(12) % 2)
    loss = classifier(drawn, batch.targets)
    own = 0.75 * classifier(batch.inputs, batch.targets) + 0.25 * loss
    assert same(gradients(total(terms), classifier), gradients(own, classifier))
    assert same(gradients(terms["objective"], generator), gradients(3 * loss, generator))


def test_at_first_the_classifier_learns_plainly_and_the_domain_network_with_it():
    algorithm, batch = make(progress=0.09)
    terms = algorithm(batch)
    assert list(terms) == ["objective", "domain"]
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets))
    torch.testing.assert_close(terms["domain"], F.cross_entropy(algorithm.domain_network(batch.inputs), batch.domains))
    assert all(gradient is None for gradient in gradients(total(terms), algorithm.generator))
    assert list(algorithm(batch._replace(progress=0.1))) == ["objective", "novelty", "diversity", "cycle"]


@pytest.mark.parametrize("trained", [True, False])
def test_the_generator_draws_domains_far_from_others_and_can_still_draw_the_image_back(trained):
    """A trained domain network puts the two domains in opposite corners, with nothing but corners to go to: images as
    they are, half of them in either, are at 0.5 from a domain, and so are the novel domains, but in a corner each.
    One that is not trained leaves the room to be far from both."""
    algorithm, batch = make(keep=0.0)
    networks = [algorithm.domain_network, algorithm.generator]
    optimizer = torch.optim.SGD([p for network in networks for p in network.parameters()], lr=0.05, momentum=0.9)
    cycles = []
    for step in range(70):
        optimizer.zero_grad()
        terms = algorithm(batch._replace(progress=0.0 if trained and step < 20 else 0.5))
        total(terms).backward()
        optimizer.step()
        cycles += [float(terms["cycle"].detach()) / 10] if "cycle" in terms else []
    with torch.no_grad():
        novel = torch.arange(12) // 2 % 2
        plain = algorithm.distances(batch.inputs, batch.domains, batch.inputs, novel)
        drawn = algorithm.generator(batch.inputs, 2 + novel)
        found = algorithm.distances(batch.inputs, batch.domains, drawn, novel)
    assert found[1] > plain[1] + 0.3
    assert found[0] > plain[0] + (0 if trained else 0.1)
    assert cycles[-1] < 0.2 * cycles[0]


@pytest.mark.parametrize("options", [{"share": 0.0}, {"distance": -1.0}, {"warmup": 2.0}, {"cycle": float("nan")}])
def test_an_option_out_of_bounds_is_an_error(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)


def test_the_gradient_of_the_distance_is_that_of_the_cost_less_the_entropy_of_its_plan():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(count, 3, dtype=torch.float64, generator=generator) for count in (4, 5))
    blur, direction = 0.3, torch.randn(4, 3, dtype=torch.float64, generator=generator)

    def minimized(points):
        cost = 1 - F.normalize(points, dim=1) @ F.normalize(y, dim=1).T
        plan = transport_plan(cost, blur, 2000)
        return (plan * cost).sum() + blur * (plan * plan.log()).sum()

    at = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(transport_distance(at, y, blur=blur, rounds=2000), at)
    slope = (minimized(x + 1e-5 * direction) - minimized(x - 1e-5 * direction)) / 2e-5
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)
    still = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(transport_distance(still, y.float()), still)
    assert gradient.norm() < 1 / 5e-3
