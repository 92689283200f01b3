"""MASF: which classes are taken for which, triplets, and the step before both."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import MASF, Batch
from afield.algorithms.masf import class_means, confusion_distance
from afield.algorithms.parts.inner_step import inner_step
from afield.algorithms.parts.triplets import semi_hard_triplets
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
TARGETS = torch.tensor([0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 1, 0])


def make(**options) -> MASF:
    torch.manual_seed(0)
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    backbone = nn.Sequential(nn.Linear(4, 5), nn.Tanh())
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    return MASF(classifier, [4, 4, 4], **options).double()


def make_batch() -> Batch:
    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(inputs, TARGETS, DOMAINS, torch.arange(12), 0.5)


# Class means and their distance


def test_the_means_of_classes_by_hand_and_a_missing_one():
    logits = torch.tensor([[1.0, 0.0, 2.0], [3.0, 4.0, 0.0], [5.0, 5.0, 5.0]])
    means = class_means(logits, torch.tensor([1, 1, 0]))
    assert means[:2].tolist() == [[5, 5, 5], [2, 2, 1]]
    assert means[2].isnan().all()


def test_a_missing_class_leaves_the_gradient_finite():
    logits = torch.randn(3, 3, requires_grad=True)
    first, second = (class_means(logits, torch.tensor(targets)) for targets in ([0, 0, 1], [0, 1, 1]))
    confusion_distance(first, second, 2.0).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


def test_the_distance_of_soft_confusion_by_hand():
    """Softened by 2, rows of log-odds (0, 2 log 3) and (0, 0) are (1/4, 3/4) and (1/2, 1/2)."""
    first = torch.tensor([[0.0, 2 * math.log(3)], [0.0, 0.0]])
    second = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan]])
    there = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    back = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(confusion_distance(first, second, 2.0)) == pytest.approx((there + back) / 2 / 2)
    assert confusion_distance(first, first, 2.0) == 0


def test_the_distance_agrees_with_pytorch_s_divergence():
    first, second = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, q = ((means / 3.0).log_softmax(1) for means in (first, second))
    both = F.kl_div(p, q, log_target=True, reduction="sum") + F.kl_div(q, p, log_target=True, reduction="sum")
    torch.testing.assert_close(confusion_distance(first, second, 3.0), both / 2 / 4)


# Triplets


def longhand_triplets(embeddings: torch.Tensor, labels: list[int], margin: float) -> float:
    losses = []
    for anchor, positive in itertools.permutations(range(len(labels)), 2):
        negatives = [
            float((embeddings[anchor] - embeddings[other]).square().sum())
            for other in range(len(labels))
            if labels[other] != labels[anchor]
        ]
        if labels[anchor] == labels[positive] and negatives:
            distance = float((embeddings[anchor] - embeddings[positive]).square().sum())
            farther = [negative for negative in negatives if negative > distance]
            losses.append(max(0.0, margin + distance - (min(farther) if farther else max(negatives))))
    return sum(losses) / len(losses)


def test_triplets_on_a_line_by_hand():
    """At 0 and 2 one class, at 1 and 5 the other. Anchor 0: positive 4, farther negative 25; anchor 2: positive 4,
    farther negative 9; anchor 1: positive 16, none farther, the farthest 1; anchor 5: positive 16, nearest farther 25.
    """
    embeddings = torch.tensor([[0.0], [2.0], [1.0], [5.0]])
    expected = (0 + (7 + 4 - 9) + (7 + 16 - 1) + 0) / 4
    assert float(semi_hard_triplets(embeddings, torch.tensor([0, 0, 1, 1]), 7.0)) == expected


def test_a_negative_as_far_as_the_positive_is_not_farther():
    """Anchor 0: positive 1, negatives 1 and 9; anchor 1: positive 1, negatives 4 and 4."""
    embeddings = torch.tensor([[0.0], [1.0], [-1.0], [3.0]])
    expected = (10 + 1 - 9) + (10 + 1 - 4) + (10 + 16 - 4) + (10 + 16 - 9)  # -1 and 3: the farthest of 1, 4 and of 9, 4
    assert float(semi_hard_triplets(embeddings, torch.tensor([0, 0, 1, 1]), 10.0)) == expected / 4


@pytest.mark.parametrize("seed", range(3))
def test_triplets_against_all_pairs_and_negatives_in_turn(seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (9,), generator=generator)
    found = float(semi_hard_triplets(embeddings, labels, 1.5))
    assert found == pytest.approx(longhand_triplets(embeddings, labels.tolist(), 1.5))


def test_triplets_have_the_gradient_of_finite_differences():
    embeddings = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda x: semi_hard_triplets(x, labels, 2.0), embeddings)


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1]])
def test_without_a_positive_or_a_negative_there_are_no_triplets(labels):
    embeddings = torch.randn(3, 2, requires_grad=True)
    loss = semi_hard_triplets(embeddings, torch.tensor(labels), 1.0)
    loss.backward()
    assert loss == 0
    assert not embeddings.grad.any()


# The step


def test_an_inner_step_goes_down_the_gradient_and_is_cut_at_its_norm():
    parameters = {"a": torch.tensor([1.0, 2.0], requires_grad=True), "b": torch.tensor([3.0], requires_grad=True)}
    loss = 0.5 * (3 * parameters["a"][0] ** 2 + 4 * parameters["a"][1]) + 0.25 * parameters["b"].square().sum()
    free, cut = inner_step(parameters, loss, 0.1), inner_step(parameters, loss, 0.1, clip=2.0)
    torch.testing.assert_close(free["a"], torch.tensor([1 - 0.3, 2 - 0.2]))
    norm = math.sqrt(3**2 + 2**2)
    torch.testing.assert_close(cut["a"], torch.tensor([1 - 0.3 * 2 / norm, 2 - 0.2 * 2 / norm]))
    torch.testing.assert_close(cut["b"], free["b"])
    torch.testing.assert_close(cut["b"], torch.tensor([3 - 0.15]))


def test_an_inner_step_passes_a_gradient_of_nothing():
    parameter = torch.zeros(2, requires_grad=True)
    moved = inner_step({"a": parameter}, parameter.square().sum(), 0.1, clip=1.0)["a"]
    moved.sum().backward()
    torch.testing.assert_close(parameter.grad, torch.tensor([0.8, 0.8]))


# The whole


def test_without_a_step_the_terms_are_those_of_the_network_as_it_is():
    algorithm, batch = make(inner_rate=0.0, alignment=0.3, metric=0.1, temperature=1.5, margin=2.0), make_batch()
    torch.manual_seed(1)
    terms = algorithm(batch)
    torch.manual_seed(1)
    held = int(torch.randint(3, ()))
    features = algorithm.classifier.features(batch.inputs)
    logits = algorithm.classifier.objective.logits(features)
    torch.testing.assert_close(terms["meta_train"], F.cross_entropy(logits[held != DOMAINS], TARGETS[held != DOMAINS]))
    means = [[logits[(domain == DOMAINS) & (label == TARGETS)].mean(0) for label in range(3)] for domain in range(3)]
    distances = []
    for domain in {0, 1, 2} - {held}:
        for label in range(3):
            p, q = ((means[d][label] / 1.5).softmax(0) for d in (held, domain))
            distance = 0.5 * (p * (p / q).log()).sum() + 0.5 * (q * (q / p).log()).sum()
            distances.append(torch.nan_to_num(distance))
    torch.testing.assert_close(terms["alignment"], 0.3 * torch.stack(distances).sum() / 3 / 2)
    embedded = algorithm.embedding(features)
    torch.testing.assert_close(terms["metric"], 0.1 * semi_hard_triplets(embedded, TARGETS, 2.0))


def test_the_gradient_is_that_of_finite_differences():
    """Through the step, second derivatives and all, for every parameter along a random direction."""
    algorithm, batch = make(inner_rate=0.3, alignment=0.7, metric=0.2, clip=100.0), make_batch()

    def value() -> torch.Tensor:
        torch.manual_seed(3)
        return sum(algorithm(batch).values())

    value().backward()
    torch.manual_seed(5)
    for parameter in algorithm.parameters():
        direction = torch.randn(parameter.shape, dtype=torch.float64)
        direction /= direction.norm()
        slope, ends = (parameter.grad * direction).sum(), []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += step * direction
            ends.append(float(value().detach()))
            with torch.no_grad():
                parameter -= step * direction
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8)


def test_the_second_derivative_is_part_of_the_gradient():
    """To first order the gradient at the moved weights is taken for that at the old ones; they differ."""
    algorithm, batch = make(inner_rate=0.3, alignment=5.0, metric=0.0, clip=100.0), make_batch()
    torch.manual_seed(3)
    algorithm(batch)["alignment"].backward()
    classifier = algorithm.classifier
    full = classifier.backbone[0].weight.grad.clone()
    torch.manual_seed(3)
    held = int(torch.randint(3, ()))
    classifier.zero_grad()
    slopes = torch.autograd.grad(
        classifier(batch.inputs[held != DOMAINS], TARGETS[held != DOMAINS]), list(classifier.parameters())
    )
    with torch.no_grad():
        for parameter, slope in zip(classifier.parameters(), slopes, strict=True):
            parameter -= 0.3 * slope
    logits = classifier.logits(batch.inputs)
    means = [class_means(logits[domain == DOMAINS], TARGETS[domain == DOMAINS]) for domain in range(3)]
    distances = [confusion_distance(means[held], means[domain], 2.0) for domain in {0, 1, 2} - {held}]
    (5 * torch.stack(distances).mean()).backward()
    first_order = classifier.backbone[0].weight.grad
    assert F.cosine_similarity(full.flatten(), first_order.flatten(), dim=0) > 0.8
    assert (full - first_order).norm() > 0.01 * full.norm()


def test_a_batch_of_one_domain_is_the_objective():
    algorithm, batch = make(), make_batch()._replace(domains=torch.ones(12, dtype=torch.int64))
    terms = algorithm(batch)
    assert list(terms) == ["meta_train"]
    torch.testing.assert_close(terms["meta_train"], algorithm.classifier(batch.inputs, TARGETS))


def test_a_head_on_ready_features_learns_from_the_alignment():
    objective = Objective(LinearHead(4, 3), {"cross_entropy": 1.0})
    classifier = Classifier(nn.Identity(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    MASF(classifier, [4, 4, 4]).double()(make_batch())["alignment"].backward()
    assert objective.head.weight.grad.abs().sum() > 0


def test_every_domain_is_held_out_now_and_then():
    algorithm, batch = make(), make_batch()
    assert len({float(algorithm(batch)["meta_train"].detach()) for _ in range(40)}) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"inner_rate": -1.0},
        {"clip": 0.0},
        {"alignment": -1.0},
        {"metric": -1.0},
        {"temperature": 0.0},
        {"margin": -1.0},
    ],
)
def test_options_out_of_bounds_are_errors_that_say_what_they_got(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)


def test_a_step_that_is_clipped_to_nothing_leaves_the_terms_as_without_a_step():
    """A parameter's gradient is scaled to the norm `clip`: without clipping, a rate of 1 would change both terms."""

    def terms(**options):
        torch.manual_seed(3)  # of the meta-test domain
        return make(**options).terms(make_batch())

    still, clipped, free = terms(inner_rate=0.0), terms(inner_rate=1.0, clip=1e-9), terms(inner_rate=1.0, clip=1e9)
    for name in ("alignment", "metric"):
        assert clipped[name].item() == pytest.approx(still[name].item(), rel=1e-6)
        assert abs(free[name].item() / still[name].item() - 1) > 1e-3
