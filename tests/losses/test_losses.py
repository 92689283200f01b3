"""Losses against arithmetic written out by hand, at ordinary and at very large logits."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import one_hot

from afield.losses import (
    LOSSES,
    complement_entropy,
    complement_flattening,
    confidence_penalty,
    cross_entropy,
    focal,
    guided_complement_entropy,
    label_smoothing,
    max_entropy,
)

SOFT = [name for name in LOSSES.names if name not in ("guided_complement_entropy", "ldam")]
EVERY = [
    *((name, {}) for name in LOSSES.names),
    ("cross_entropy", {"temperature": 0.5}),
    ("label_smoothing", {"smoothing": 0.3, "temperature": 2.0}),
    ("focal", {"gamma": 0.5}),
    ("guided_complement_entropy", {"alpha": 0.0}),
    ("max_entropy", {"sign": "printed"}),
    ("max_entropy", {"form": "gap"}),
]
every_loss = pytest.mark.parametrize(("name", "options"), EVERY, ids=lambda value: str(value))
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])


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


def random_logits(rows=6, classes=5, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(rows, classes, dtype=torch.float64, generator=generator)


def mixed(targets, others, share, classes=5):
    """Soft targets as mixup makes them: `share` of the one, the rest of the other."""
    return share * one_hot(targets, classes).double() + (1 - share) * one_hot(others, classes).double()


TARGETS = torch.tensor([0, 4, 2, 2, 1, 3])
OTHERS = torch.tensor([1, 4, 0, 3, 2, 0])
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25], dtype=torch.float64)


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


@every_dtype
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


@pytest.mark.parametrize("loss", [cross_entropy, label_smoothing])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_the_temperature_divides_the_logits(loss, temperature):
    z = random_logits()
    torch.testing.assert_close(loss(z, TARGETS, temperature=temperature), loss(z / temperature, TARGETS))


def test_cross_entropy_at_a_temperature_of_a_hand_computed_example():
    # Logits 0 and log 2 at T = 1/2 are 0 and log 4: the target has probability 1/5.
    z = torch.tensor([[0.0, math.log(2)]])
    assert cross_entropy(z, torch.tensor([0]), temperature=0.5).item() == pytest.approx(math.log(5), abs=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, label_smoothing])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_cross_entropy_is_linear_in_the_targets_as_mixup_has_it(loss, share):
    z = random_logits()
    expected = share * loss(z, TARGETS, weight=WEIGHT) + (1 - share) * loss(z, OTHERS, weight=WEIGHT)
    torch.testing.assert_close(loss(z, mixed(TARGETS, OTHERS, share), weight=WEIGHT), expected)


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


def test_focal_of_a_mixed_target_of_a_hand_computed_example():
    # Half of each class at probabilities 1/4 and 3/4: ((3/4)^2 log 4 + (1/4)^2 log 4/3) / 2.
    found = focal(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.5, 0.5]]))
    assert found.item() == pytest.approx((9 / 16 * math.log(4) + 1 / 16 * math.log(4 / 3)) / 2, abs=1e-6)


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


def test_flattening_of_a_mixed_target_is_over_the_classes_in_neither():
    # Wrong classes 2 and 3 with logits 0 and log 3: as in the hand-computed example of index targets.
    z = torch.tensor([[9.0, -4.0, 0.0, math.log(3)]])
    found = complement_flattening(z, torch.tensor([[0.7, 0.3, 0.0, 0.0]]))
    assert found.item() == pytest.approx((math.log(16) - math.log(3)) / 2, abs=1e-6)


def test_complement_entropy_of_a_mixed_target_is_over_the_classes_in_neither():
    # q = (1/4, 3/4): sum q log q = 3/4 log 3 - log 4, over two wrong classes.
    z = torch.tensor([[9.0, -4.0, 0.0, math.log(3)]])
    found = complement_entropy(z, torch.tensor([[0.7, 0.3, 0.0, 0.0]]))
    assert found.item() == pytest.approx((0.75 * math.log(3) - math.log(4)) / 2, abs=1e-6)


@pytest.mark.parametrize("loss", [complement_flattening, complement_entropy])
def test_a_mixed_target_teaches_nothing_about_the_classes_it_mixes(loss):
    z = random_logits().requires_grad_()
    targets = mixed(TARGETS, OTHERS, 0.6)
    loss(z, targets).sum().backward()
    assert (z.grad[targets > 0] == 0).all()
    assert (z.grad[targets == 0] != 0).all()


@pytest.mark.parametrize("name", ["complement_flattening", "complement_entropy"])
def test_a_row_without_a_wrong_class_is_an_error_that_names_the_row(name):
    targets = mixed(TARGETS, OTHERS, 0.6)
    targets[3] = 0.2
    with pytest.raises(ValueError, match=f"{name} needs a wrong class in every row.*row 3 has none"):
        LOSSES[name](random_logits(), targets)


def test_guided_complement_entropy_of_a_hand_computed_example():
    # p_y = 1/2 and wrong classes with q = (1/4, 3/4): (1/2)^(1/3) (3/4 log 3 - log 4) / log 2.
    z = torch.tensor([[math.log(4), 0.0, math.log(3)]])
    expected = 0.5 ** (1 / 3) * (0.75 * math.log(3) - math.log(4)) / math.log(2)
    assert guided_complement_entropy(z, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-6)
    expected = 0.5**0.2 * (0.75 * math.log(3) - math.log(4)) / math.log(2)
    assert guided_complement_entropy(z, torch.tensor([0]), alpha=0.2).item() == pytest.approx(expected, abs=1e-6)


def test_guided_complement_entropy_with_alpha_zero_is_the_normalized_complement_entropy():
    z = random_logits()
    expected = complement_entropy(z, TARGETS) * 4 / math.log(4)
    torch.testing.assert_close(guided_complement_entropy(z, TARGETS, alpha=0.0), expected)


def test_guided_complement_entropy_lies_between_minus_one_and_zero_and_reaches_minus_one():
    values = guided_complement_entropy(random_logits(scale=10), TARGETS)
    assert ((values >= -1) & (values <= 0)).all()
    learned = torch.tensor([[60.0, 1.0, 1.0, 1.0]])
    assert guided_complement_entropy(learned, torch.tensor([0])).item() == pytest.approx(-1, abs=1e-6)


def test_guided_complement_entropy_of_an_example_far_from_learned_is_the_power_of_its_small_probability():
    # p_y = e^-120 / 2, far below what float32 holds; p_y^(1/3) is about 3e-18.
    z = torch.tensor([[0.0, 120.0, 120.0]], requires_grad=True)
    value = guided_complement_entropy(z, torch.tensor([0]))
    assert value.item() == pytest.approx(-math.exp(-(120 + math.log(2)) / 3), rel=1e-4)
    value.sum().backward()
    assert z.grad[0, 0].item() == pytest.approx(value.item() / 3, rel=1e-4)


def test_guided_complement_entropy_needs_three_classes_an_index_and_an_alpha_of_at_least_0():
    with pytest.raises(ValueError, match=r"guided_complement_entropy needs logits \[B, K\] with K >= 3, got \(6, 2\)"):
        guided_complement_entropy(random_logits(classes=2), TARGETS)
    with pytest.raises(ValueError, match="one target class; probabilities name none"):
        guided_complement_entropy(random_logits(), mixed(TARGETS, OTHERS, 0.5))
    with pytest.raises(ValueError, match="alpha must be at least 0, got -1"):
        guided_complement_entropy(random_logits(), TARGETS, alpha=-1)


def test_max_entropy_of_a_hand_computed_example():
    # p = (1/2, 1/4, 1/4) has 1.5 bits of log2 3.
    z = torch.tensor([[math.log(2), 0.0, 0.0]])
    gap = math.log2(3) - 1.5
    assert max_entropy(z, torch.tensor([0]), form="gap").item() == pytest.approx(gap, abs=1e-6)
    assert max_entropy(z, torch.tensor([0])).item() == pytest.approx(math.log(gap + 1e-3), abs=1e-5)
    assert max_entropy(z, torch.tensor([0]), eps=0.5).item() == pytest.approx(math.log(gap + 0.5), abs=1e-6)


@pytest.mark.parametrize("eps", [1e-3, 1e-1])
@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_max_entropy_of_the_uniform_prediction_is_log_eps(eps, classes):
    z = torch.full((1, classes), 7.0, dtype=torch.float64)
    assert max_entropy(z, torch.tensor([0]), eps=eps).item() == pytest.approx(math.log(eps), abs=1e-9)


def test_max_entropy_stays_finite_where_rounding_takes_the_gap_below_zero():
    z = (1e-3 * torch.randn(500, 7, generator=torch.Generator().manual_seed(0))).requires_grad_()
    values = max_entropy(z, torch.zeros(500, dtype=torch.long), eps=1e-12)
    values.sum().backward()
    assert values.isfinite().all()
    assert z.grad.isfinite().all()


def test_the_printed_sign_is_minus_the_corrected_loss_and_a_step_along_it_lowers_the_entropy():
    z = random_logits(scale=1.0).requires_grad_()
    torch.testing.assert_close(max_entropy(z, TARGETS, sign="printed"), -max_entropy(z, TARGETS))
    entropy = -confidence_penalty(z, TARGETS)
    for sign, direction in (("corrected", 1), ("printed", -1)):
        (gradient,) = torch.autograd.grad(max_entropy(z, TARGETS, sign=sign).sum(), z)
        moved = -confidence_penalty(z - 1e-3 * gradient, TARGETS)
        assert (direction * (moved - entropy) > 0).all()


def test_the_gap_is_the_confidence_penalty_in_bits_above_its_minimum():
    z = random_logits()
    expected = math.log2(5) + confidence_penalty(z, TARGETS) / math.log(2)
    torch.testing.assert_close(max_entropy(z, TARGETS, form="gap"), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sign": "minus"}, "sign must be"),
        ({"form": "square"}, "form must be"),
        ({"form": "gap", "sign": "printed"}, 'supports sign="corrected" only'),
        ({"eps": 0.0}, r"eps must be above 0, got 0\.0"),
    ],
)
def test_max_entropy_refuses_unknown_forms(options, message):
    with pytest.raises(ValueError, match=message):
        max_entropy(random_logits(), TARGETS, **options)


@pytest.mark.parametrize("loss", [confidence_penalty, max_entropy])
def test_the_entropy_of_the_prediction_does_not_look_at_the_targets(loss):
    z = random_logits()
    assert torch.equal(loss(z, TARGETS), loss(z, OTHERS))
    assert torch.equal(loss(z, TARGETS), loss(z, mixed(TARGETS, OTHERS, 0.5)))


@every_loss
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_gradient_matches_finite_differences_in_float64(name, options, weight):
    loss, ignored = LOSSES[name], TARGETS.clone()
    ignored[2] = -100
    targets = [TARGETS, ignored] + ([mixed(TARGETS, OTHERS, 0.6)] if name in SOFT else [])
    for target in targets:
        assert gradcheck(lambda x, t=target: loss(x, t, weight=weight, **options), (random_logits().requires_grad_(),))


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_a_one_hot_target_is_its_index(name, weight):
    z, loss = random_logits(), LOSSES[name]
    found = loss(z, one_hot(TARGETS, 5).double(), weight=weight)
    torch.testing.assert_close(found, loss(z, TARGETS, weight=weight))


@every_loss
@pytest.mark.parametrize("ignore_index", [-100, -1, 2])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_an_ignored_row_has_the_value_0_and_the_gradient_0_and_leaves_the_others_alone(
    name, options, ignore_index, weight
):
    z = random_logits().requires_grad_()
    targets = TARGETS.clone()
    targets[2:4] = ignore_index
    found = LOSSES[name](z, targets, weight=weight, ignore_index=ignore_index, **options)
    found.sum().backward()
    assert found[2:4].tolist() == [0.0, 0.0]
    assert (z.grad[2:4] == 0).all()
    kept = torch.tensor([0, 1, 4, 5])
    torch.testing.assert_close(found[kept], LOSSES[name](z, TARGETS, weight=weight, **options)[kept])
    assert (z.grad[kept].abs().sum(dim=1) > 0).all()


# In label smoothing class weights act inside the sum, as in F.cross_entropy.
@pytest.mark.parametrize(("name", "options"), [pair for pair in EVERY if pair[0] != "label_smoothing"])
def test_a_class_weight_multiplies_the_value_of_its_examples(name, options):
    z, loss = random_logits(), LOSSES[name]
    torch.testing.assert_close(
        loss(z, TARGETS, weight=WEIGHT, **options), loss(z, TARGETS, **options) * WEIGHT[TARGETS]
    )


@pytest.mark.parametrize("name", [name for name in SOFT if name not in ("cross_entropy", "label_smoothing")])
def test_a_mixed_target_counts_by_its_expected_class_weight(name):
    z, targets, loss = random_logits(), mixed(TARGETS, OTHERS, 0.6), LOSSES[name]
    expected = loss(z, targets) * (0.6 * WEIGHT[TARGETS] + 0.4 * WEIGHT[OTHERS])
    torch.testing.assert_close(loss(z, targets, weight=WEIGHT), expected)


@every_loss
@every_dtype
def test_values_and_gradients_are_finite_at_a_gap_of_120_and_of_the_dtype_of_the_logits(name, options, dtype):
    soft = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    for row in ([120.0, 0.0, 0.0, 0.0], [-120.0, 0.0, 0.0, 0.0], [0.0, 120.0, -120.0, 60.0]):
        for target in [torch.tensor([0]), torch.tensor([2])] + ([soft] if name in SOFT else []):
            logits = torch.tensor([row], dtype=dtype, requires_grad=True)
            value = LOSSES[name](logits, target, **options)
            value.sum().backward()
            assert value.dtype == logits.grad.dtype == dtype
            assert value.isfinite().all()
            assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_rounded_once(name, options, dtype):
    z = random_logits(scale=30).to(dtype)
    expected = LOSSES[name](z.float(), TARGETS, weight=WEIGHT, **options).to(dtype)
    assert torch.equal(LOSSES[name](z, TARGETS, weight=WEIGHT.to(dtype), **options), expected)


@every_loss
def test_under_autocast_values_stay_in_float32(name, options):
    with torch.autocast("cpu", torch.bfloat16):
        assert LOSSES[name](random_logits().bfloat16(), TARGETS, **options).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8])
def test_indices_of_any_integer_dtype_are_taken(dtype):
    for name in LOSSES.names:
        z = random_logits()
        assert torch.equal(LOSSES[name](z, TARGETS.to(dtype), weight=WEIGHT), LOSSES[name](z, TARGETS, weight=WEIGHT))


WRONG_ARGUMENTS = [
    (torch.zeros(4, 5, 2), torch.zeros(4, 2).long(), {}, r"needs logits \[B, K\] with K >= .*\(4, 5, 2\) of float32"),
    (torch.zeros(5), torch.tensor(0), {}, r"needs logits .* got \(5,\) of float32"),
    (torch.zeros(4, 5).long(), torch.zeros(4).long(), {}, r"needs logits .* got \(4, 5\) of int64"),
    (torch.zeros(4, 5), torch.zeros(4), {}, r"needs class indices \[B\].* for logits \(4, 5\), got \(4,\) of float32"),
    (torch.zeros(4, 5), torch.zeros(4).bool(), {}, r"needs class indices \[B\].* got \(4,\) of bool"),
    (torch.zeros(4, 5), torch.zeros(3).long(), {}, r"needs class indices \[B\].* got \(3,\) of int64"),
    (torch.zeros(4, 5), torch.zeros(4, 6), {}, r"needs class indices \[B\].* got \(4, 6\) of float32"),
    (torch.zeros(4, 5), torch.zeros(4, 5).long(), {}, r"needs class indices \[B\].* got \(4, 5\) of int64"),
    (
        torch.zeros(4, 5),
        torch.zeros(4).long(),
        {"weight": torch.ones(4)},
        r"needs weight \[K\] .* got \(4,\) of float32",
    ),
    (torch.zeros(4, 5), torch.zeros(4).long(), {"weight": torch.ones(5).long()}, r"needs weight .* \(5,\) of int64"),
]
WRONG_IDS = ["pixels", "1-d", "integer", "real", "bool", "short", "wide", "one-hot", "weight-short", "weight-integer"]


@pytest.mark.parametrize("name", LOSSES.names)
@pytest.mark.parametrize(("logits", "targets", "options", "message"), WRONG_ARGUMENTS, ids=WRONG_IDS)
def test_wrong_shapes_and_dtypes_are_errors_that_name_the_loss_and_what_it_got(name, logits, targets, options, message):
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        LOSSES[name](logits, targets, **options)


@pytest.mark.parametrize("name", SOFT)
def test_probabilities_have_no_rows_to_ignore_by_index(name):
    with pytest.raises(ValueError, match=f"{name} ignores rows by their index; .* ignore_index=2"):
        LOSSES[name](random_logits(), mixed(TARGETS, OTHERS, 0.5), ignore_index=2)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (cross_entropy, {"temperature": 0.0}, "temperature must be above 0, got 0"),
        (label_smoothing, {"temperature": -1.0}, "temperature must be above 0, got -1"),
        (label_smoothing, {"smoothing": 1.5}, r"smoothing must lie in \[0, 1\], got 1\.5"),
        (label_smoothing, {"smoothing": -0.1}, r"smoothing must lie in \[0, 1\], got -0\.1"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(random_logits(), TARGETS, **options)


@pytest.mark.parametrize("name", LOSSES.names)
def test_a_masked_class_takes_no_part(name):
    """The values of the logits without that class, but for the number of classes where a loss divides by it."""
    logits = torch.tensor([[1.0, -math.inf, 0.0, 0.5, 0.2]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0])
    value = LOSSES[name](logits, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient.isfinite().all()
    assert gradient[0, 1] == 0
    expected = LOSSES[name](logits[:, [0, 2, 3, 4]], target)
    bits = torch.tensor(5 / 4).log2()
    factor = {"complement_entropy": 3 / 4, "guided_complement_entropy": math.log(3) / math.log(4)}
    if name == "max_entropy":
        torch.testing.assert_close(value.exp(), expected.exp() + bits, atol=1e-6, rtol=0)
    else:
        torch.testing.assert_close(value, expected * factor.get(name, 1.0))


@pytest.mark.parametrize("name", SOFT)
def test_a_masked_class_takes_no_part_in_soft_targets_either(name):
    logits = torch.tensor([[1.0, -math.inf, 0.0, 0.5, 0.2]], requires_grad=True)
    value = LOSSES[name](logits, torch.tensor([[0.7, 0.0, 0.3, 0.0, 0.0]]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_where_every_class_but_the_target_is_masked_values_are_finite():
    logits = torch.tensor([[1.0, -math.inf, -math.inf]], requires_grad=True)
    for loss in LOSSES.names:
        value = LOSSES[loss](logits, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert value.isfinite().all()
        assert gradient.tolist() == [[0.0, 0.0, 0.0]]
    assert complement_flattening(logits, torch.tensor([0])).tolist() == [0.0]
    assert complement_flattening(logits, torch.tensor([[1.0, 0.0, 0.0]])).tolist() == [0.0]


@pytest.mark.parametrize("target", [torch.tensor([0]), torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)])
def test_flattening_with_a_masked_class_by_hand(target):
    """Wrong logits 0, log 2 and log 5 beside the masked one: q = (1/8, 2/8, 5/8), and the gradient is q - 1/3."""
    logits = torch.tensor([[9.0, -math.inf, 0.0, math.log(2), math.log(5)]], dtype=torch.float64, requires_grad=True)
    value = complement_flattening(logits, target)
    assert value.item() == pytest.approx(-math.log(1 / 8 * 2 / 8 * 5 / 8) / 3, rel=1e-14)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient[0].tolist() == pytest.approx([0, 0, 1 / 8 - 1 / 3, 2 / 8 - 1 / 3, 5 / 8 - 1 / 3], abs=1e-15)


@pytest.mark.parametrize("target", [torch.tensor([0]), torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)])
def test_label_smoothing_with_a_masked_class_by_hand(target):
    """Three classes share the smoothing, each with its class weight; p = (1/8, 2/8, 5/8)."""
    logits = torch.tensor([[0.0, math.log(2), -math.inf, math.log(5)]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([0.5, 2.0, 7.0, 1.0], dtype=torch.float64)
    value = label_smoothing(logits, target, smoothing=0.3, weight=weight)
    terms = [math.log(8), math.log(4), math.log(8 / 5)]
    assert value.item() == pytest.approx(
        0.7 * 0.5 * terms[0] + 0.1 * (0.5 * terms[0] + 2 * terms[1] + terms[2]), rel=1e-14
    )
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    t = [0.35 + 0.05, 0.2, 0.0, 0.1]
    assert gradient[0].tolist() == pytest.approx(
        [sum(t) * p - w for p, w in zip([1 / 8, 2 / 8, 0, 5 / 8], t, strict=True)], abs=1e-15
    )


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [1.5, -0.5, 0.0], [0.5, 0.2, 0.0], [math.nan, 1.0, 0.0]])
def test_rows_that_are_no_probabilities_are_refused(name, row):
    with pytest.raises(ValueError, match="target probabilities must be at least 0 and sum to 1"):
        LOSSES[name](torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], row]))


@pytest.mark.parametrize("name", LOSSES.names)
def test_no_examples_are_refused(name):
    with pytest.raises(ValueError, match="needs at least one example"):
        LOSSES[name](torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("name", ["cross_entropy", "label_smoothing", "focal", "confidence_penalty"])
def test_with_a_single_class_there_is_nothing_to_learn(name):
    logits = torch.tensor([[3.0]], requires_grad=True)
    (value,) = LOSSES[name](logits, torch.tensor([0]))
    assert value.item() == pytest.approx(0, abs=1e-30)
    assert torch.autograd.grad(value, logits)[0].item() == 0
