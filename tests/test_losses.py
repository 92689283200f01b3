"""Losses against arithmetic written out by hand, at ordinary and at very large logits."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from afield.losses import (
    ComplementFlattening,
    complement_entropy,
    complement_flattening,
    confidence_penalty,
    cross_entropy,
    focal,
    label_smoothing,
)


def softmax(z):
    total = math.fsum(math.exp(v - max(z)) for v in z)
    return [math.exp(v - max(z)) / total for v in z]


def flattening_longhand(z, y):
    """-1/(K-1) * sum_{j != y} log q_j, with q the softmax over the wrong classes alone."""
    q = softmax([v for j, v in enumerate(z) if j != y])
    return -math.fsum(math.log(v) for v in q) / len(q)


@st.composite
def rows(draw, largest=30.0):
    """Logits of 3 to 8 classes, and a target."""
    classes = draw(st.integers(3, 8))
    values = st.floats(-largest, largest, allow_nan=False, width=32)
    return draw(st.lists(values, min_size=classes, max_size=classes)), draw(st.integers(0, classes - 1))


def test_flattening_of_a_hand_computed_example():
    # Wrong logits 0 and log 3: q = (1/4, 3/4), so L' = -(log 1/4 + log 3/4) / 2 = (log 16 - log 3) / 2.
    z = torch.tensor([[5.0, 0.0, math.log(3)], [0.0, math.log(3), -2.0]])
    found = complement_flattening(z, torch.tensor([0, 2]))
    assert found.tolist() == pytest.approx([(math.log(16) - math.log(3)) / 2] * 2, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(rows())
def test_flattening_equals_its_definition_by_the_non_target_distribution(row):
    z, y = row
    found = complement_flattening(torch.tensor([z], dtype=torch.float64), torch.tensor([y]))
    assert found.item() == pytest.approx(flattening_longhand(z, y), abs=1e-9)


def test_flattening_of_two_classes_is_zero_and_warns():
    with pytest.warns(UserWarning, match="two classes is 0"):
        found = complement_flattening(torch.tensor([[3.0, -1.0], [0.5, 90.0]]), torch.tensor([0, 1]))
    assert found.tolist() == [0.0, 0.0]


def test_flattening_of_three_classes_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        complement_flattening(torch.zeros(1, 3), torch.tensor([0]))


def test_flattening_of_one_class_is_an_error_that_names_the_shape():
    with pytest.raises(ValueError, match=r"K >= 2, got \(4, 1\)"):
        complement_flattening(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))


@settings(deadline=None, max_examples=30)
@given(rows(), st.floats(-100, 100))
def test_flattening_does_not_change_when_a_constant_is_added_to_all_logits(row, constant):
    z, y = torch.tensor([row[0]], dtype=torch.float64), torch.tensor([row[1]])
    torch.testing.assert_close(complement_flattening(z + constant, y), complement_flattening(z, y), atol=1e-10, rtol=0)


@settings(deadline=None, max_examples=30)
@given(rows(), st.floats(-1e4, 1e4))
def test_flattening_never_involves_the_target_logit(row, value):
    z, y = torch.tensor([row[0]], dtype=torch.float64, requires_grad=True), row[1]
    loss = complement_flattening(z, torch.tensor([y]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient[0, y].item() == 0.0
    moved = z.detach().clone()
    moved[0, y] = value
    assert complement_flattening(moved, torch.tensor([y])).item() == loss.item()


def test_flattening_gradient_is_the_non_target_probability_less_the_uniform_one():
    z = [1.0, -2.0, 0.5, 3.0]
    logits = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    complement_flattening(logits, torch.tensor([3])).sum().backward()
    expected = [q - 1 / 3 for q in softmax(z[:3])] + [0.0]
    assert logits.grad[0].tolist() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(rows())
def test_flattening_is_at_least_log_of_the_wrong_classes_and_reaches_it_at_equal_logits(row):
    z, y = torch.tensor([row[0]], dtype=torch.float64), torch.tensor([row[1]])
    floor = math.log(z.shape[1] - 1)
    assert complement_flattening(z, y).item() >= floor - 1e-12
    flat = torch.full_like(z, row[0][0]).scatter(1, y[:, None], -7.0)
    assert complement_flattening(flat, y).item() == pytest.approx(floor, abs=1e-12)


WRONG = [1.0, 0.5, 0.0, -0.5, -1.0, 0.25]


@pytest.mark.parametrize("target_logit", [8.0, 16.0, 20.0, 40.0])
def test_flattening_agrees_with_float64_at_large_target_logits(target_logit):
    z = [WRONG[0], target_logit, *WRONG[1:]]
    found = complement_flattening(torch.tensor([z]), torch.tensor([1]))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(flattening_longhand(z, 1), abs=1e-5)


@pytest.mark.parametrize(
    ("target_logit", "wrong_by"), [(8.0, (0.0, 0.01)), (16.0, (0.1, 0.3)), (20.0, (1.0, 3.0)), (40.0, (15.0, 30.0))]
)
def test_dividing_by_one_minus_the_target_probability_is_right_at_8_and_wrong_from_16_on(target_logit, wrong_by):
    z = torch.tensor([WRONG[0], target_logit, *WRONG[1:]])
    p = z.softmax(0)
    q = p[torch.arange(7) != 1] / (1 - p[1] + 1e-7)
    naive = -q.log().mean().item()
    low, high = wrong_by
    assert low <= abs(naive - flattening_longhand(z.tolist(), 1)) <= high


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", [[120.0, 0.0, 0.0, 0.0], [-120.0, 0.0, 0.0, 0.0], [0.0, 120.0, 0.0, 0.0]])
def test_flattening_and_its_gradient_are_finite_at_a_gap_of_120(dtype, row):
    z = torch.tensor([row], dtype=dtype, requires_grad=True)
    loss = complement_flattening(z, torch.tensor([0]))
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(flattening_longhand(row, 0), rel=0.01)
    loss.sum().backward()
    assert z.grad.isfinite().all()
    if row[1] == 120:
        assert z.grad[0].tolist() == pytest.approx([0, 2 / 3, -1 / 3, -1 / 3], abs=4e-3)


@pytest.mark.parametrize(
    "loss", [complement_flattening, cross_entropy, label_smoothing, focal, confidence_penalty, complement_entropy]
)
def test_gradient_matches_finite_differences_in_float64(loss):
    z = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.tensor([0, 4, 2, 2])
    assert gradcheck(lambda x: loss(x, targets), (z.requires_grad_(),))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_module_is_cross_entropy_plus_weight_times_the_mean_flattening(weight):
    z, targets = [[1.0, 2.0, 0.0, -1.0], [0.0, 0.0, 3.0, 1.0]], [1, 0]
    ce = [-math.log(softmax(row)[y]) for row, y in zip(z, targets, strict=True)]
    flat = [flattening_longhand(row, y) for row, y in zip(z, targets, strict=True)]
    found = ComplementFlattening(weight=weight)(torch.tensor(z), torch.tensor(targets))
    assert found.shape == ()
    assert found.item() == pytest.approx(sum(ce) / 2 + weight * sum(flat) / 2, abs=1e-6)


def test_the_module_weighs_flattening_by_a_half_unless_told():
    assert ComplementFlattening().weight == 0.5
    assert repr(ComplementFlattening(2.0)) == "ComplementFlattening(weight=2.0)"


def test_cross_entropy_is_minus_the_log_probability_of_each_target():
    z = [[1.0, 2.0, 0.0], [0.0, -5.0, 3.0]]
    found = cross_entropy(torch.tensor(z), torch.tensor([1, 0]))
    assert found.tolist() == pytest.approx([-math.log(softmax(z[0])[1]), -math.log(softmax(z[1])[0])], abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3, 1.0])
def test_label_smoothing_mixes_cross_entropy_with_the_mean_over_classes(smoothing):
    z = [1.0, 2.0, 0.0, -3.0]
    logs = [-math.log(p) for p in softmax(z)]
    expected = (1 - smoothing) * logs[1] + smoothing * sum(logs) / 4
    found = label_smoothing(torch.tensor([z]), torch.tensor([1]), smoothing=smoothing)
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


def test_label_smoothing_spreads_a_tenth_unless_told():
    z, y = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([1])
    assert label_smoothing(z, y).item() == label_smoothing(z, y, smoothing=0.1).item()


def test_focal_of_a_hand_computed_example():
    # Probabilities 1/4 and 3/4 of the target: (3/4)^2 log 4 and (1/4)^2 log 4/3.
    z = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]], dtype=torch.float64)
    expected = [9 / 16 * math.log(4), 1 / 16 * math.log(4 / 3)]
    assert focal(z, torch.tensor([0, 0])).tolist() == pytest.approx(expected, rel=1e-12)


def test_focal_with_gamma_zero_is_cross_entropy_and_a_negative_gamma_an_error():
    z, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(focal(z, y, gamma=0), cross_entropy(z, y))
    with pytest.raises(ValueError, match="gamma must be at least 0, got -1"):
        focal(z, y, gamma=-1)


def test_focal_keeps_its_digits_where_the_target_is_nearly_certain():
    # 1 - p = e^-12 to first order, below what 1 - p in float32 resolves to three digits.
    found = focal(torch.tensor([[12.0, 0.0]]), torch.tensor([0]), gamma=1.0).item()
    p = 1 / (1 + math.exp(-12))
    assert found == pytest.approx(math.exp(-12) * p * -math.log(p), rel=1e-3)


@given(rows())
@settings(deadline=None, max_examples=50)
def test_confidence_penalty_is_minus_the_entropy(row):
    z, y = row
    expected = math.fsum(p * math.log(p) for p in softmax(z) if p > 0)
    found = confidence_penalty(torch.tensor([z], dtype=torch.float64), torch.tensor([y])).item()
    assert found == pytest.approx(expected, abs=1e-9)


@given(rows())
@settings(deadline=None, max_examples=50)
def test_complement_entropy_is_minus_the_entropy_of_the_wrong_classes_over_their_number(row):
    z, y = row
    q = softmax([v for j, v in enumerate(z) if j != y])
    expected = math.fsum(p * math.log(p) for p in q if p > 0) / len(q)
    logits = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    found = complement_entropy(logits, torch.tensor([y]))
    found.sum().backward()
    assert found.item() == pytest.approx(expected, abs=1e-9)
    assert logits.grad[0, y] == 0
    assert torch.isfinite(logits.grad).all()


def test_complement_entropy_is_flattest_at_equal_wrong_logits_and_needs_two_classes():
    z = torch.tensor([[7.0, 1.0, 1.0, 1.0]])
    assert complement_entropy(z, torch.tensor([0])).item() == pytest.approx(-math.log(3) / 3)
    with pytest.raises(ValueError, match=r"K >= 2, got \(4, 1\)"):
        complement_entropy(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("loss", [focal, confidence_penalty, complement_entropy])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kin_are_finite_with_their_gradients_at_a_gap_of_120(loss, dtype):
    for row in ([120.0, 0.0, 0.0], [-120.0, 0.0, 0.0], [0.0, 120.0, -120.0]):
        logits = torch.tensor([row], dtype=dtype, requires_grad=True)
        value = loss(logits, torch.tensor([0]))
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(logits.grad).all()
