"""Losses and class weights for classes of unequal size, against formulas written out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from afield.errors import InputError
from afield.heads import ArcFaceHead, CosineHead, LinearHead
from afield.losses import (
    LDAM,
    LOSSES,
    BalancedSoftmax,
    LogitAdjustment,
    balanced_softmax,
    balanced_weights,
    complement_flattening,
    cross_entropy,
    effective_weights,
    ldam,
    logit_adjustment,
)
from afield.objective import Objective

COUNTS = torch.tensor([16, 81, 1])
Z = torch.tensor([[1.0, 2.0, -0.5], [0.3, -1.0, 0.7]], dtype=torch.float64)
Y = torch.tensor([0, 2])
NEW = ("logit_adjustment", "balanced_softmax", "ldam")


def longhand(row, label):
    """``-log softmax`` of one row, in plain Python."""
    return math.log(sum(math.exp(v) for v in row)) - row[label]


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_logit_adjustment_adds_the_log_frequencies(tau):
    prior = [math.log(n / 98) for n in (16, 81, 1)]
    rows = [[z + tau * p for z, p in zip(row, prior, strict=True)] for row in Z.tolist()]
    expected = [longhand(row, label) for row, label in zip(rows, (0, 2), strict=True)]
    assert logit_adjustment(Z, Y, tau=tau, counts=COUNTS).tolist() == pytest.approx(expected)


def test_balanced_softmax_multiplies_the_terms_by_the_counts():
    expected = [
        -math.log(n * math.exp(row[label]) / sum(c * math.exp(z) for c, z in zip((16, 81, 1), row, strict=True)))
        for row, label, n in zip(Z.tolist(), (0, 2), (16, 1), strict=True)
    ]
    assert balanced_softmax(Z, Y, counts=COUNTS).tolist() == pytest.approx(expected)


def test_ldam_lowers_the_target_by_the_inverse_fourth_root():
    # n^(-1/4) = 1/2, 1/3, 1; the largest margin is 0.5, so the margins are 0.25, 1/6 and 0.5, times the scale 30.
    first, second = Z.tolist()
    expected = [longhand([first[0] - 7.5, *first[1:]], 0), longhand([*second[:2], second[2] - 15], 2)]
    assert ldam(Z, Y, counts=COUNTS).tolist() == pytest.approx(expected)
    cosines = Z / 4
    paper = F.cross_entropy(30 * (cosines - torch.tensor([[0.25, 0, 0], [0, 0, 0.5]])), Y, reduction="none")
    torch.testing.assert_close(ldam(30 * cosines, Y, counts=COUNTS), paper)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.integers(0, 10**6))
def test_balanced_softmax_is_logit_adjustment_with_tau_one_also_for_soft_targets(counts, seed):
    z, counts = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)), torch.tensor(counts)
    for targets in (torch.tensor([0, 1, 2, -100]), torch.full((4, 3), 1 / 3)):
        torch.testing.assert_close(
            balanced_softmax(z, targets, counts=counts), logit_adjustment(z, targets, counts=counts)
        )


@pytest.mark.parametrize("targets", [Y, torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)])
def test_equal_counts_tau_zero_and_no_margin_are_cross_entropy(targets):
    plain = cross_entropy(Z, targets)
    for same in (
        logit_adjustment(Z, targets, counts=torch.tensor([7, 7, 7])),
        logit_adjustment(Z, targets, tau=0.0, counts=COUNTS),
        balanced_softmax(Z, targets),
    ):
        torch.testing.assert_close(same, plain)
    torch.testing.assert_close(ldam(Z, Y, largest_margin=0.0, counts=COUNTS), cross_entropy(Z, Y))


@pytest.mark.parametrize("name", NEW)
def test_gradients_are_exact(name):
    z = Z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: LOSSES[name](logits, Y, counts=COUNTS), z)


@pytest.mark.parametrize("name", NEW)
def test_a_class_without_images_counts_as_one_image(name):
    found = LOSSES[name](Z, Y, counts=torch.tensor([16, 81, 0]))
    torch.testing.assert_close(found, LOSSES[name](Z, Y, counts=torch.tensor([16, 81, 1])))


@pytest.mark.parametrize("name", NEW)
def test_weights_ignored_rows_and_wrong_counts(name):
    weight = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    plain = LOSSES[name](Z, Y, counts=COUNTS)
    torch.testing.assert_close(LOSSES[name](Z, Y, counts=COUNTS, weight=weight), plain * weight[Y])
    assert LOSSES[name](Z, torch.tensor([0, -100]), counts=COUNTS).tolist() == [pytest.approx(plain[0].item()), 0.0]
    with pytest.raises(ValueError, match=rf"{name} needs counts \[K\] for logits \(2, 3\), got \(2,\)"):
        LOSSES[name](Z, Y, counts=torch.tensor([1, 2]))


@pytest.mark.parametrize(
    ("module", "loss"), [(LogitAdjustment, logit_adjustment), (BalancedSoftmax, balanced_softmax), (LDAM, ldam)]
)
def test_modules_keep_the_counts_as_a_buffer(module, loss):
    criterion = module(counts=COUNTS)
    assert criterion(Z, Y).item() == pytest.approx(loss(Z, Y, counts=COUNTS).mean().item())
    assert criterion.state_dict()["counts"].tolist() == COUNTS.tolist()
    assert module()(Z, Y).item() == pytest.approx(loss(Z, Y).mean().item())


def test_class_weights_worked_out_by_hand():
    # N / (K n) = 98 / (3 * 16), 98 / (3 * 81), 98 / 3
    assert balanced_weights(COUNTS).tolist() == pytest.approx([98 / 48, 98 / 243, 98 / 3])
    # Effective numbers at beta 0.5: 1 - 0.5^n over 0.5 = 2 - 2^(1-16), 2, 1.
    inverse = [1 / (2 - 2**-15), 1 / 2, 1.0]
    scale = 98 / (16 * inverse[0] + 81 * inverse[1] + inverse[2])
    assert effective_weights(COUNTS, beta=0.5).tolist() == pytest.approx([scale * v for v in inverse])
    assert effective_weights(COUNTS, beta=0.0).tolist() == pytest.approx([1, 1, 1])
    torch.testing.assert_close(effective_weights(COUNTS, beta=1 - 1e-9), balanced_weights(COUNTS), rtol=1e-5, atol=0)
    with pytest.raises(InputError, match=r"beta must lie in \[0, 1\)"):
        effective_weights(COUNTS, beta=1.0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 500), min_size=2, max_size=6).filter(any), st.floats(0, 0.9999))
def test_the_mean_weight_of_an_image_is_one(counts, beta):
    counts = torch.tensor(counts)
    for weights in (balanced_weights(counts), effective_weights(counts, beta=beta)):
        assert (weights * counts).sum().item() == pytest.approx(counts.sum().item(), rel=1e-4)
        assert weights.isfinite().all()


def fixed(head):
    torch.manual_seed(0)
    return head(4, 3)


FEATURES = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 1, 2, 1, -100])
WEIGHT = torch.tensor([2.0, 0.5, 3.0])


@pytest.mark.parametrize("head", [LinearHead, CosineHead, ArcFaceHead])
@pytest.mark.parametrize("losses", [{"cross_entropy": 1.0}, {"cross_entropy": 1.0, "complement_flattening": 0.5}])
def test_class_weights_weigh_every_loss_of_an_example(head, losses):
    objective = Objective(fixed(head), losses)
    objective.set_classes(COUNTS, weight=WEIGHT)
    logits, rows = objective.head(FEATURES, TARGETS)[:4], WEIGHT[TARGETS[:4]]
    each = {"cross_entropy": cross_entropy, "complement_flattening": complement_flattening}
    expected = sum(w * (rows * each[name](logits, TARGETS[:4])).sum() / rows.sum() for name, w in losses.items())
    torch.testing.assert_close(objective(FEATURES, TARGETS), expected)
    if len(losses) == 1:
        torch.testing.assert_close(expected, F.cross_entropy(logits, TARGETS[:4], weight=WEIGHT))
    groups = torch.tensor([0, 1, 1, 0, 0])
    risk = (rows[:4] * sum(w * each[n](logits, TARGETS[:4]) for n, w in losses.items()))[[0, 3]].sum() / rows[
        [0, 3]
    ].sum()
    torch.testing.assert_close(objective.risks(FEATURES, TARGETS, groups, 2)[0], risk)


def test_class_weights_of_mixed_images_are_expected_weights():
    objective, soft = Objective(fixed(LinearHead), {"cross_entropy": 1.0}), torch.tensor([[0.25, 0.75, 0.0]])
    objective.set_classes(COUNTS, weight=WEIGHT)
    plain = cross_entropy(objective.head(FEATURES[:1]), soft)[0]
    torch.testing.assert_close(objective(FEATURES[:1], soft), (0.25 * 2 + 0.75 * 0.5) * plain)


def test_deferred_weights_apply_from_their_fraction_of_the_training():
    objective = Objective(fixed(LinearHead), {"cross_entropy": 1.0})
    plain = objective(FEATURES, TARGETS)
    objective.set_classes(COUNTS, weight=WEIGHT, weighted_from=0.8)
    values = []
    for objective.progress in (0.0, 0.79, 0.8, 0.99):
        values.append(objective(FEATURES, TARGETS).item())
    assert values[:2] == [pytest.approx(plain.item())] * 2
    assert values[2:] == [pytest.approx(F.cross_entropy(objective.head(FEATURES), TARGETS, weight=WEIGHT).item())] * 2


@pytest.mark.parametrize("head", [LinearHead, CosineHead])
def test_the_counts_reach_the_loss_and_are_added_to_the_scaled_logits(head):
    objective = Objective(fixed(head), {"logit_adjustment": 1.0, "complement_flattening": 0.5})
    objective.set_classes(COUNTS)
    logits = objective.logits(FEATURES)
    expected = F.cross_entropy(logits + (COUNTS / 98).log(), TARGETS)
    torch.testing.assert_close(objective.terms(FEATURES, TARGETS)["logit_adjustment"], expected)
    if head is CosineHead:
        assert logits.abs().max() > 1  # scaled, not cosines


def test_counts_given_as_an_option_of_the_loss_have_precedence():
    objective = Objective(fixed(LinearHead), {"balanced_softmax": 1.0}, {"balanced_softmax": {"counts": [1, 2, 3]}})
    objective.set_classes(COUNTS)
    expected = balanced_softmax(objective.head(FEATURES), TARGETS, counts=torch.tensor([1, 2, 3]))
    torch.testing.assert_close(objective(FEATURES, TARGETS), expected[:4].mean())


def test_adjustment_at_prediction_subtracts_the_log_frequencies_and_leaves_training_unchanged():
    objective = Objective(fixed(CosineHead), {"cross_entropy": 1.0})
    before, loss = objective.logits(FEATURES), objective(FEATURES, TARGETS)
    objective.set_classes(COUNTS, adjustment=1.5)
    torch.testing.assert_close(objective.logits(FEATURES), before - 1.5 * (COUNTS / 98).log())
    torch.testing.assert_close(objective(FEATURES, TARGETS), loss)
    assert "prediction_shift" in objective.state_dict()
