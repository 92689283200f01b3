"""Algorithms on how heads transfer between domains: Transfer and TRM."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from afield.algorithms import ALGORITHMS, trm
from afield.algorithms.transfer import project, risk_gap
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import LinearHead
from afield.objective import Objective
from tests.algorithms.small import DOMAINS, TARGETS, gradient, parts, small

ONE_HOT = F.one_hot(TARGETS, 3).double()


def slopes_by_hand(weight: Tensor, bias: Tensor, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the cross-entropy of a linear head, ``(p - y) [x, 1]`` on average."""
    errors = (features @ weight.T + bias).softmax(dim=1) - targets
    return errors.T @ features / len(features), errors.mean(dim=0)


# Transfer


def test_weights_outside_the_ball_move_to_its_surface():
    center, module = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, (weight, bias) in ((center, (1.0, 2.0)), (module, (4.0, 6.0))):
        layer.weight.data.fill_(weight)
        layer.bias.data.fill_(bias)
    project(module, center, 6.0)
    assert (module.weight.item(), module.bias.item()) == (4.0, 6.0)
    project(module, center, 2.0)  # the distance is 5
    assert (module.weight.item(), module.bias.item()) == pytest.approx((2.2, 3.6))
    project(center, center, 2.0)
    assert (center.weight.item(), center.bias.item()) == (1.0, 2.0)


@pytest.mark.parametrize("radius", [0.05, 2.0])
def test_the_gap_of_transfer_by_hand(radius):
    algorithm, batch = small("transfer", penalty=0.5, radius=radius, steps=2, rate=0.4)
    features, logits, risks = parts(algorithm, batch)
    head = algorithm.classifier.objective.head
    start = head.weight.detach().clone(), head.bias.detach().clone()
    weight, bias = start
    x = features.detach()
    for _ in range(2):
        found = [F.cross_entropy((x @ weight.T + bias)[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
        high, low = int(np.argmax(found)), int(np.argmin(found))
        up, down = (slopes_by_hand(weight, bias, x[d == DOMAINS], ONE_HOT[d == DOMAINS]) for d in (high, low))
        moved = weight + 0.4 * (up[0] - down[0]), bias + 0.4 * (up[1] - down[1])
        distance = sum(float((new - old).square().sum()) for new, old in zip(moved, start, strict=True)) ** 0.5
        assert (distance > radius) == (radius == 0.05)
        weight, bias = (old + min(1.0, radius / distance) * (new - old) for new, old in zip(moved, start, strict=True))
    adverse = [F.cross_entropy((features @ weight.T + bias)[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
    expected = 0.5 * (max(adverse) - min(adverse))
    terms = algorithm(batch)
    assert list(terms) == ["objective", "gap"]
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, TARGETS))
    torch.testing.assert_close(terms["gap"], expected)
    assert expected > 0.5 * (max(risks) - min(risks))
    torch.testing.assert_close(gradient(terms["gap"], algorithm), gradient(expected, algorithm))
    assert (head.weight.equal(start[0]), head.bias.equal(start[1])) == (True, True)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(terms["gap"], head.weight, retain_graph=True)


def test_the_gap_is_between_the_highest_and_the_lowest_risk_and_0_for_one_domain():
    algorithm, batch = small("transfer")
    features, _, risks = parts(algorithm, batch)
    found = risk_gap(algorithm.classifier.objective, features, batch)
    torch.testing.assert_close(found, max(risks) - min(risks))
    alone = batch._replace(domains=torch.zeros(12, dtype=torch.int64))
    assert algorithm(alone)["gap"] == 0


@pytest.mark.parametrize("steps", [0, 1001, 2.0])
def test_a_number_of_steps_out_of_range_is_refused(steps):
    with pytest.raises(InputError, match="steps must be a whole number between 1 and 1000"):
        small("transfer", steps=steps)


# TRM


def test_a_predictor_takes_thirty_steps_of_gradient_descent_in_place():
    algorithm, batch = small("trm")
    features = algorithm.classifier.features(batch.inputs).detach()
    predictor = algorithm.predictors[1]
    weight, bias = (tensor.detach().clone() for tensor in (predictor.head.weight, predictor.head.bias))
    for _ in range(30):
        slopes = slopes_by_hand(weight, bias, features, ONE_HOT)
        weight, bias = weight - 0.1 * slopes[0], bias - 0.1 * slopes[1]
    found = trm.fit(predictor, features, TARGETS)
    torch.testing.assert_close(predictor.head.weight.detach(), weight)
    torch.testing.assert_close(predictor.head.bias.detach(), bias)
    assert torch.equal(found["head.weight"], predictor.head.weight)
    assert all(leaf.requires_grad and leaf.is_leaf for leaf in found.values())
    assert not any(parameter.requires_grad for parameter in algorithm.predictors.parameters())
    assert not torch.equal(predictor.head.weight, algorithm.predictors[0].head.weight)


def test_the_series_is_the_product_with_the_inverse_hessian(monkeypatch):
    matrix = torch.tensor([[0.9, 0.2], [0.2, 0.4]], dtype=torch.float64)
    direction = torch.tensor([1.0, -2.0], dtype=torch.float64)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(weights @ matrix @ weights / 2, weights, create_graph=True)
    step = torch.eye(2) - matrix
    expected = sum(torch.linalg.matrix_power(step, power) @ direction for power in range(11))
    torch.testing.assert_close(trm.solve_by_series([slope], [weights], [direction])[0], expected)
    monkeypatch.setattr(trm, "SERIES_TERMS", 200)
    torch.testing.assert_close(
        trm.solve_by_series([slope], [weights], [direction])[0], torch.linalg.solve(matrix, direction)
    )


def test_the_series_ends_before_an_element_exceeds_ten():
    weight = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(1.5 * weight.square().sum(), weight, create_graph=True)
    # 1 - 2 + 4 - 8 + 16 = 11
    assert trm.solve_by_series([slope], [weight], [torch.ones(1)])[0].tolist() == [-5.0]
    # 10/11 of it: the sum of five terms is 10, that of six is below -10
    assert trm.solve_by_series([slope], [weight], [torch.full((1,), 10 / 11)])[0].tolist() == pytest.approx([10.0])


def test_the_transfer_risk_by_hand_and_the_weights_of_the_domains():
    algorithm, batch = small("trm", rate=0.3)
    algorithm.shares.copy_(torch.tensor([[0.0, 0.25, 0.75], [0.5, 0.0, 0.5], [0.1, 0.9, 0.0]]))
    shares, fitted = algorithm.shares.clone(), copy.deepcopy(algorithm)
    features, logits, _ = parts(algorithm, batch)
    terms = algorithm(batch)
    assert list(terms) == ["objective", "transfer", "implicit"]
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, TARGETS))
    transfers, expected = [], torch.zeros(3, 3, dtype=torch.float64)
    for domain in range(3):
        own = domain == DOMAINS
        weights = trm.fit(fitted.predictors[domain], features[own].detach(), TARGETS[own])
        each = features @ weights["head.weight"].T + weights["head.bias"]
        risks = [F.cross_entropy(each[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
        transfers.append(sum(shares[domain, d] * risks[d] for d in range(3)))
        raised = [float(shares[domain, d]) * np.exp(0.3 * risks[d].item()) for d in range(3)]
        expected[domain] = torch.tensor(raised) / sum(raised)
    mean = sum(transfers) / 3
    torch.testing.assert_close(terms["transfer"], mean)
    torch.testing.assert_close(gradient(terms["transfer"], algorithm), gradient(mean, algorithm))
    torch.testing.assert_close(algorithm.shares, expected)
    assert algorithm.shares.diagonal().eq(0).all()


def test_weights_are_relative_to_the_domains_in_the_batch():
    algorithm, batch = small("trm")
    rows = DOMAINS != 1
    part = batch._replace(inputs=batch.inputs[rows], targets=TARGETS[rows], domains=DOMAINS[rows])
    both, _ = small("trm")
    both.shares.copy_(torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(algorithm(part)["transfer"], both(part)["transfer"])
    torch.testing.assert_close(algorithm.shares.sum(dim=1), torch.ones(3, dtype=torch.float64))


def test_trm_starts_with_the_objective_and_needs_two_domains_in_a_batch():
    algorithm, batch = small("trm", warmup=0.5)
    assert list(algorithm(batch._replace(progress=0.49))) == ["objective"]
    assert list(algorithm(batch._replace(progress=0.5))) == ["objective", "transfer", "implicit"]
    assert list(algorithm(batch._replace(domains=torch.ones(12, dtype=torch.int64)))) == ["objective"]


def test_trm_starts_with_equal_weights_of_the_other_domains():
    algorithm, _ = small("trm")
    assert algorithm.shares.tolist() == [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
    one = ALGORITHMS["trm"](algorithm.classifier, [12])
    assert one.shares.tolist() == [[0.0]]


def test_the_gradient_through_the_predictor_is_that_of_the_risk_of_the_optimum(monkeypatch):
    torch.manual_seed(0)
    objective = Objective(LinearHead(2, 3), {"cross_entropy": 1.0})
    classifier = Classifier(nn.Identity(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = ALGORITHMS["trm"](classifier, [20, 20]).double()
    first, second = 1.5 * torch.randn(2, 20, 2, dtype=torch.float64)
    targets = torch.randn(2, 20, 3, dtype=torch.float64).softmax(dim=2)
    matrix = torch.tensor([[1.0, 0.3], [-0.2, 0.8]], dtype=torch.float64, requires_grad=True)

    def optimum(features: Tensor) -> Tensor:
        """Weights and biases ``[3, 3]`` of the best head of the first domain."""

        def loss(flat):
            weights = torch.tensor(flat.reshape(3, 3), requires_grad=True)
            value = F.cross_entropy(features @ weights[:, :2].T + weights[:, 2], targets[0])
            return value.item(), torch.autograd.grad(value, weights)[0].flatten().numpy()

        return torch.tensor(minimize(loss, np.zeros(9), jac=True, tol=1e-14).x.reshape(3, 3))

    def risk(weights: Tensor, m: Tensor) -> Tensor:
        return F.cross_entropy(second @ m @ weights[:, :2].T + weights[:, 2], targets[1])

    def fitted(predictor: object, features: Tensor, _: Tensor) -> dict[str, Tensor]:
        weights = optimum(features)
        return {"head.weight": weights[:, :2].requires_grad_(), "head.bias": weights[:, 2].requires_grad_()}

    monkeypatch.setattr(trm, "fit", fitted)
    monkeypatch.setattr(trm, "SERIES_TERMS", 600)
    terms = algorithm.transfer(0, {0: (first @ matrix, targets[0]), 1: (second @ matrix, targets[1])})
    torch.testing.assert_close(terms[0], risk(optimum((first @ matrix).detach()), matrix))
    found = torch.autograd.grad(terms[0] + terms[1], matrix)[0]
    expected, base = torch.zeros(2, 2, dtype=torch.float64), matrix.detach()
    for entry in np.ndindex(2, 2):
        ends = []
        for step in (1e-3, -1e-3):
            moved = base.clone()
            moved[entry] += step
            ends.append(float(risk(optimum(first @ moved), moved)))
        expected[entry] = (ends[0] - ends[1]) / 2e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(
        torch.autograd.grad(risk(optimum((first @ matrix).detach()), matrix), matrix)[0], expected
    )


def test_the_implicit_term_has_its_factor_and_the_mean_of_the_domains():
    found = [small("trm", implicit=factor)[0](small("trm")[1])["implicit"] for factor in (1.0, 0.25)]
    torch.testing.assert_close(found[1], 0.25 * found[0])
    algorithm, batch = small("trm", implicit=1.0)
    features = algorithm.classifier.features(batch.inputs)
    rows = {domain: (features[domain == DOMAINS], TARGETS[domain == DOMAINS]) for domain in range(3)}
    expected = sum(algorithm.transfer(domain, rows)[1] for domain in range(3)) / 3
    torch.testing.assert_close(found[0], expected)
