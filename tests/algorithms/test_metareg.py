"""MetaReg: what the regularizer learns from, and who learns when."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import Batch, MetaReg
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import ArcFaceHead, LinearHead, Neck, PartialFCHead
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
TARGETS = torch.tensor([0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 1, 0])


def make(head=LinearHead, losses=None, neck=None, **options) -> MetaReg:
    torch.manual_seed(0)
    objective = Objective(head(5, 3), losses or {"cross_entropy": 1.0}, neck=neck)
    backbone = nn.Sequential(nn.Linear(4, 5), nn.Tanh())
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = MetaReg(classifier, [4, 4, 4], **options).double()
    for copied in algorithm.objectives:
        nn.init.normal_(copied.head.weight)
    for weight in algorithm.regularizer:
        nn.init.normal_(weight, std=0.5)
    return algorithm


def make_batch(progress: float) -> Batch:
    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(inputs, TARGETS, DOMAINS, torch.arange(12), progress)


def part(algorithm: MetaReg, domain: int) -> tuple[torch.Tensor, torch.Tensor]:
    own = domain == DOMAINS
    return algorithm.classifier.features(make_batch(0.0).inputs[own]).detach(), TARGETS[own]


def test_the_penalty_is_the_weighted_sum_of_absolute_class_vectors_and_no_more():
    algorithm = make(neck=Neck(5))
    assert algorithm.names == ["head.weight"]
    objective = algorithm.classifier.objective
    found = algorithm.penalty(dict(objective.named_parameters()))
    expected = (algorithm.regularizer[0] * objective.head.weight.abs()).sum()
    torch.testing.assert_close(found, expected)


def test_it_begins_as_no_regularizer_at_all():
    classifier = make().classifier
    algorithm = MetaReg(classifier, [4, 4, 4])
    assert [weight.shape for weight in algorithm.regularizer] == [(3, 5)]
    assert not algorithm.regularizer[0].any()


def test_two_inner_steps_written_out():
    """Gradient descent on a linear classifier, of which the gradients are known."""
    algorithm = make(inner_steps=2, inner_rate=0.3)
    seen, unseen = part(algorithm, 0), part(algorithm, 2)
    head, weights = algorithm.objectives[0].head, algorithm.regularizer[0].detach()
    matrix, bias = head.weight.detach().clone(), head.bias.detach().clone()
    for _ in range(2):
        wrong = ((seen[0] @ matrix.T + bias).softmax(1) - F.one_hot(seen[1], 3)) / len(seen[1])
        to_matrix, to_bias = wrong.T @ seen[0] + weights * matrix.sign(), wrong.sum(0)
        matrix, bias = matrix - 0.3 * to_matrix, bias - 0.3 * to_bias
    expected = F.cross_entropy(unseen[0] @ matrix.T + bias, unseen[1])
    torch.testing.assert_close(algorithm.meta_test(algorithm.objectives[0], seen, unseen), expected)


@pytest.mark.parametrize(
    ("head", "losses"),
    [
        (LinearHead, {"cross_entropy": 1.0, "complement_flattening": 0.5}),
        (partial(ArcFaceHead, gradient="exact"), {"cross_entropy": 1.0}),
    ],
)
def test_the_gradient_of_the_regularizer_is_that_of_finite_differences(head, losses):
    """Margin heads compute in float32: their differences are taken wider, and looked at less closely."""
    step, tolerance = (1e-4, 1e-6) if head is LinearHead else (1e-2, 1e-3)
    algorithm = make(head, losses, inner_steps=3, inner_rate=0.2)
    torch.manual_seed(3)
    algorithm(make_batch(0.0))["meta_test"].backward()
    weight = algorithm.regularizer[0]
    direction = weight.grad / weight.grad.norm()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
        torch.manual_seed(3)
        ends.append(float(algorithm(make_batch(0.0))["meta_test"].detach()))
        with torch.no_grad():
            weight -= sign * step * direction
    assert float(weight.grad.norm()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=tolerance)


def test_the_meta_test_teaches_the_regularizer_alone():
    algorithm = make()
    algorithm(make_batch(0.0))["meta_test"].backward()
    learning = {name for name, parameter in algorithm.named_parameters() if parameter.grad is not None}
    assert learning == {"regularizer.0"}
    assert algorithm.regularizer[0].grad.abs().sum() > 0


def test_at_first_features_and_copies_learn_and_the_classifier_s_own_objective_does_not():
    algorithm, batch = make(share=0.4), make_batch(0.39)
    terms = algorithm(batch)
    assert list(terms) == ["domains", "meta_test"]
    features = algorithm.classifier.features(batch.inputs)
    risks = [
        F.cross_entropy(algorithm.objectives[d].head(features[d == DOMAINS]), TARGETS[d == DOMAINS]) for d in range(3)
    ]
    torch.testing.assert_close(terms["domains"], torch.stack(risks).mean())
    sum(terms.values()).backward()
    assert algorithm.classifier.objective.head.weight.grad is None
    assert all(copied.head.weight.grad.abs().sum() > 0 for copied in algorithm.objectives)
    assert algorithm.classifier.backbone[0].weight.grad.abs().sum() > 0


def test_then_the_classifier_learns_and_regularizer_and_copies_stay():
    algorithm, batch = make(share=0.4), make_batch(0.4)
    terms = algorithm(batch)
    assert list(terms) == ["objective", "regularizer"]
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets))
    sum(terms.values()).backward()
    learning = {name for name, parameter in algorithm.named_parameters() if parameter.grad is not None}
    assert learning == {name for name, _ in algorithm.named_parameters() if name.startswith("classifier.")}
    algorithm.zero_grad()
    algorithm(batch)["regularizer"].backward()
    head = algorithm.classifier.objective.head
    torch.testing.assert_close(head.weight.grad, algorithm.regularizer[0].detach() * head.weight.detach().sign())


def test_the_regularizer_learns_to_do_away_with_what_one_domain_alone_has():
    """The first feature is the class in one domain and the opposite in the other; the second is the class in both."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    inputs = torch.stack([torch.cat([signs, -signs]), torch.cat([signs, signs])], dim=1)
    batch = Batch(inputs, (torch.cat([signs, signs]) < 0).long(), torch.arange(8) // 4, torch.arange(8), 0.0)
    objective = Objective(LinearHead(2, 2), {"cross_entropy": 1.0})
    classifier = Classifier(nn.Identity(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = MetaReg(classifier, [4, 4], inner_steps=5, inner_rate=0.5).double()
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.1)
    torch.manual_seed(0)
    for _ in range(300):
        optimizer.zero_grad()
        sum(algorithm(batch).values()).backward()
        optimizer.step()
    weights = algorithm.regularizer[0].detach().sum(dim=0)
    assert weights[0] > 0.05
    assert weights[1] < -0.05


def test_the_pairs_of_domains_are_all_drawn():
    algorithm, drawn = make(), set()
    algorithm.meta_test = lambda objective, seen, unseen: drawn.add(
        (tuple(seen[1].tolist()), tuple(unseen[1].tolist()))
    )
    for _ in range(60):
        algorithm(make_batch(0.0))
    parts = [tuple(TARGETS[domain == DOMAINS].tolist()) for domain in range(3)]
    assert drawn == {(a, b) for a in parts for b in parts if a != b}


def test_a_batch_of_one_domain_has_no_meta_test():
    batch = make_batch(0.0)._replace(domains=torch.ones(12, dtype=torch.int64))
    assert list(make()(batch)) == ["domains"]


def test_a_head_that_sees_a_sample_of_the_classes_is_refused():
    with pytest.raises(InputError, match="metareg needs all class vectors at every step, and PartialFCHead samples"):
        make(PartialFCHead)


@pytest.mark.parametrize("options", [{"share": 1.0}, {"inner_steps": 0}, {"inner_rate": -1.0}])
def test_options_out_of_bounds_are_errors_that_say_what_they_got(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)
