"""Heads against cosines and angles written out by hand, with the poles, beyond pi, and the gradients."""

import math
import statistics
import warnings

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy, normalize, one_hot

from afield.heads import (
    AdaCosHead,
    ArcFaceHead,
    CombinedMarginHead,
    CosFaceHead,
    CosineHead,
    LinearHead,
    Neck,
    PartialFCHead,
    ShardedHead,
    SphereFaceHead,
    SubCenterArcFaceHead,
    reachable_probability,
    scale_floor,
)
from afield.heads.angular import add_angle, multiply_angle as psi
from afield.losses import LOSSES
from afield.objective import Objective

MARGINS = [
    (ArcFaceHead, {"margin_rad": 0.3}),
    (CosFaceHead, {"margin_cos": 0.3}),
    (SphereFaceHead, {"margin_multiplier": 1.5}),
]
NEUTRAL = [
    (ArcFaceHead, {"margin_rad": 0.0}),
    (CosFaceHead, {"margin_cos": 0.0}),
    (SphereFaceHead, {"margin_multiplier": 1.0}),
]
ANGULAR = [(ArcFaceHead, {"margin_rad": 0.5}), (SphereFaceHead, {"margin_multiplier": 2.5})]
BOTH_GRADIENTS = pytest.mark.parametrize("gradient", ["straight_through", "exact"])


@pytest.fixture(autouse=True)
def _the_same_class_vectors_every_time():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    """Features of 6 examples in 8 dimensions, and targets among 5 classes."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(6, 8, generator=generator), torch.tensor([0, 1, 2, 3, 4, 2])


def with_weight_of(head, other):
    head.load_state_dict(other.state_dict())
    return head


def cosine_longhand(a, b):
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def arcface_longhand(theta, margin):
    """cos(theta + m), and beyond pi its mirror image downwards."""
    total = theta + margin
    return math.cos(total) if total <= math.pi else -2 - math.cos(total)


def sphereface_longhand(theta, multiplier):
    """(-1)^k cos(m theta) - 2k on [k pi/m, (k+1) pi/m]."""
    k = math.floor(multiplier * theta / math.pi)
    return (-1) ** k * math.cos(multiplier * theta) - 2 * k


def test_cosine_head_gives_scaled_cosines(batch):
    features, _ = batch
    head = CosineHead(8, 5, scale=7.5)
    found = head(features)
    for row, feature in zip(found.tolist(), features.tolist(), strict=True):
        expected = [7.5 * cosine_longhand(feature, weight) for weight in head.weight.tolist()]
        assert row == pytest.approx(expected, abs=1e-5)


def test_cosine_head_ignores_length_of_features_and_weights_and_ignores_targets(batch):
    features, targets = batch
    head = CosineHead(8, 5)
    longer = CosineHead(8, 5)
    longer.load_state_dict({"weight": head.weight * 250})
    torch.testing.assert_close(longer(features * 1e-2, targets), head(features), atol=2e-5, rtol=0)


def test_linear_head_is_an_affine_map_that_ignores_targets(batch):
    features, targets = batch
    head = LinearHead(8, 5)
    expected = [
        [
            sum(w * x for w, x in zip(row, feature, strict=True)) + bias
            for row, bias in zip(head.weight.tolist(), head.bias.tolist(), strict=True)
        ]
        for feature in features.tolist()
    ]
    torch.testing.assert_close(head(features, targets), torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "options"), NEUTRAL)
def test_a_neutral_margin_is_the_normalized_softmax(kind, options, batch):
    plain = CosineHead(8, 5)
    head = with_weight_of(kind(8, 5, **options), plain)
    torch.testing.assert_close(head(*batch), plain(*batch), atol=0, rtol=0)


@pytest.mark.parametrize(("kind", "options"), MARGINS)
def test_without_targets_the_logits_are_the_plain_scaled_cosines(kind, options, batch):
    plain = CosineHead(8, 5)
    head = with_weight_of(kind(8, 5, **options), plain)
    assert torch.equal(head(batch[0]), plain(batch[0]))


@pytest.mark.parametrize(("kind", "options"), MARGINS)
def test_a_margin_lowers_the_target_logit_and_leaves_the_others_alone(kind, options, batch):
    features, targets = batch
    plain = CosineHead(8, 5)
    head = with_weight_of(kind(8, 5, **options), plain)
    difference = head(features, targets) - plain(features)
    is_target = torch.arange(5) == targets[:, None]
    assert (difference[is_target] < -1e-3).all()
    assert (difference[~is_target] == 0).all()


@pytest.mark.parametrize(("kind", "options"), MARGINS)
def test_the_moved_target_logit_is_the_formula_of_the_head(kind, options, batch):
    features, targets = batch
    head = kind(8, 5, scale=10.0, **options)
    found = head(features, targets).gather(1, targets[:, None]).squeeze(1).tolist()
    for value, feature, target in zip(found, features.tolist(), targets.tolist(), strict=True):
        cosine = cosine_longhand(feature, head.weight[target].tolist())
        moved = {
            ArcFaceHead: lambda c: arcface_longhand(math.acos(c), 0.3),
            CosFaceHead: lambda c: c - 0.3,
            SphereFaceHead: lambda c: sphereface_longhand(math.acos(c), 1.5),
        }[kind](cosine)
        assert value == pytest.approx(10 * moved, abs=1e-4)


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.5, 1.0, 2.0, 3.0])
def test_arcface_is_the_cosine_of_angle_plus_margin_up_to_pi(margin):
    angles = [0.01 + i * (math.pi - margin - 0.01) / 50 for i in range(51)]
    cosines = [math.cos(theta) for theta in angles]
    found = add_angle(torch.tensor(cosines, dtype=torch.float64), margin)
    assert found.tolist() == pytest.approx([math.cos(math.acos(c) + margin) for c in cosines], abs=1e-9)


@pytest.mark.parametrize("multiplier", [1.2, 1.5, 2.0, 3.0, 4.0])
def test_psi_is_the_piecewise_monotone_form(multiplier):
    angles = [0.01 + i * (math.pi - 0.02) / 200 for i in range(201)]
    found = psi(torch.tensor(angles, dtype=torch.float64).cos(), multiplier)
    assert found.tolist() == pytest.approx([sphereface_longhand(t, multiplier) for t in angles], abs=1e-9)


@pytest.mark.parametrize(
    ("move", "setting"),
    [(add_angle, m) for m in (0.0, 1e-4, 0.1, 0.5, 1.0, 1.57, 2.0, 3.0, math.pi)]
    + [(psi, m) for m in (1.0, 1.2, 1.5, 2.0, 3.7, 4.0)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
def test_the_moved_cosine_falls_without_jumps_over_all_angles_beyond_pi_too(move, setting, dtype, tolerance):
    steps = 4000
    angles = torch.linspace(0, math.pi, steps, dtype=torch.float64)
    values = move(angles.cos().to(dtype), setting).double()
    falls = -values.diff()
    slope = max(1.0, setting if move is psi else 1.0)
    # Below 0.001 rad the sine is held at a floor, so that the step off the floor may be 0.001 larger.
    assert falls.min() >= -tolerance
    assert falls.max() <= slope * math.pi / (steps - 1) + slope * 1.1e-3 + tolerance


def test_the_usual_continuation_beyond_pi_jumps_by_0_117_where_ours_does_not():
    m = 0.5
    before, after = math.cos(math.pi - m - 1e-6), math.cos(math.pi - m + 1e-6)
    usual = (math.cos(math.acos(before) + m), after - m * math.sin(m))
    assert abs(usual[1] - usual[0]) == pytest.approx(0.117, abs=1e-3)
    ours = add_angle(torch.tensor([before, after], dtype=torch.float64), m)
    assert abs(ours[1] - ours[0]).item() < 1e-5
    assert ours.tolist() == pytest.approx([-1.0, -1.0], abs=1e-5)


@pytest.mark.parametrize(("kind", "options"), ANGULAR)
@BOTH_GRADIENTS
def test_gradients_are_finite_at_cosines_of_exactly_plus_and_minus_one(kind, options, gradient):
    beyond = 1.0 + 2**-22  # what float32 gives for aligned vectors
    cosine = torch.tensor([1.0, -1.0, beyond, -beyond, 0.0], requires_grad=True)
    moved = kind(8, 5, gradient=gradient, **options).moved(cosine)
    moved.sum().backward()
    assert moved.isfinite().all()
    assert cosine.grad.isfinite().all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_the_exact_gradient_near_the_poles_stays_below_a_thousand_times_the_margins_sine(sign, margin):
    steps = torch.arange(1, 200) * 2**-24  # one float32 after the other, below 1
    cosine = (sign * (1 - steps)).requires_grad_()
    ArcFaceHead(8, 5, margin_rad=margin, gradient="exact").moved(cosine).sum().backward()
    assert cosine.grad.abs().max() <= 1000 * math.sin(margin) + 1
    # Without a floor it would be 1 / sin(theta) = 2896 at the first of them.


@pytest.mark.parametrize(("kind", "options"), ANGULAR)
@BOTH_GRADIENTS
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_for_features_aligned_with_a_class_vector(kind, options, gradient, sign):
    head = kind(64, 50, gradient=gradient, **options)
    features = (sign * 3 * head.weight.detach()).requires_grad_()
    logits = head(features, torch.arange(50))
    cross_entropy(logits, torch.arange(50)).backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), [(CosineHead, {}), *MARGINS])
def test_a_zero_feature_has_zero_cosines_and_finite_gradients(kind, options):
    head = kind(8, 5, **options)
    features = torch.zeros(2, 8, requires_grad=True)
    assert head(features).eq(0).all()
    head(features, torch.tensor([0, 3])).square().sum().backward()
    assert features.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), ANGULAR)
def test_the_straight_through_gradient_is_that_of_the_plain_cosines(kind, options, batch):
    features, targets = batch
    plain = CosineHead(8, 5)
    head = with_weight_of(kind(8, 5, **options), plain)
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad((head(features.requires_grad_(), targets) * weights).sum(), (features, head.weight))
    expected = torch.autograd.grad((plain(features) * weights).sum(), (features, plain.weight))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_both_gradient_forms_give_the_same_logits(batch):
    head = ArcFaceHead(8, 5, margin_rad=0.8)
    exact = with_weight_of(ArcFaceHead(8, 5, margin_rad=0.8, gradient="exact"), head)
    torch.testing.assert_close(head(*batch), exact(*batch), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "options", "longhand"),
    [
        (ArcFaceHead, {"margin_rad": 0.7}, lambda theta: arcface_longhand(theta, 0.7)),
        (ArcFaceHead, {"margin_rad": 2.5}, lambda theta: arcface_longhand(theta, 2.5)),
        (SphereFaceHead, {"margin_multiplier": 2.5}, lambda theta: sphereface_longhand(theta, 2.5)),
    ],
)
def test_the_exact_gradient_matches_finite_differences_of_the_formula_in_float64(kind, options, longhand):
    head = kind(3, 4, scale=10.0, gradient="exact", **options)
    weight = [0.3, -1.2, 0.8]
    head.load_state_dict({"weight": torch.tensor([[1.0, 0, 0], [0, 1.0, 0], weight, [0, 0, 1.0]])})

    def target_logit(feature):
        return 10 * longhand(math.acos(cosine_longhand(feature, weight)))

    for feature in ([1.0, 0.4, -0.2], [-0.5, 1.0, 0.3]):
        x = torch.tensor([feature], requires_grad=True)
        head(x, torch.tensor([2]))[0, 2].backward()
        expected = []
        for axis in range(3):
            up, down = list(feature), list(feature)
            up[axis] += 1e-6
            down[axis] -= 1e-6
            expected.append((target_logit(up) - target_logit(down)) / 2e-6)
        assert x.grad[0].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("move", "setting"), [(add_angle, 0.1), (add_angle, 0.9), (psi, 1.2), (psi, 3.0)])
def test_the_moved_cosine_passes_gradcheck(move, setting):
    cosine = torch.tensor([-0.97, -0.6, -0.1, 0.2, 0.7, 0.99], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda c: move(c, setting), (cosine,))


@pytest.mark.parametrize(("classes", "floor", "automatic"), [(10, 4.0, 7.9), (100, 6.7, 13.4), (1000, 9.1, 18.2)])
def test_the_scale_floor_for_ten_hundred_and_thousand_classes(classes, floor, automatic):
    assert scale_floor(classes) == pytest.approx(floor, abs=0.05)
    assert scale_floor(classes) == pytest.approx(
        (classes - 1) / classes * math.log((classes - 1) * 0.9 / 0.1), abs=1e-12
    )
    assert CosineHead(4, classes).scale == pytest.approx(automatic, abs=0.1)


@pytest.mark.parametrize(("classes", "probability"), [(10, 0.451), (100, 0.0695), (1000, 0.00734)])
def test_the_reachable_probability_at_scale_one(classes, probability):
    expected = math.e / (math.e + (classes - 1) / math.e)
    assert reachable_probability(1.0, classes) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(probability, rel=2e-3)


@pytest.mark.parametrize("kind", [CosineHead, ArcFaceHead, CosFaceHead, SphereFaceHead])
def test_a_scale_below_the_floor_warns_with_the_probability_it_can_reach(kind):
    with pytest.warns(UserWarning, match=r"scale=1 is below the floor of 4\.0 for 10 classes.*0\.451"):
        assert kind(8, 10, scale=1).scale == 1.0


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_the_automatic_scale_and_one_at_the_floor_never_warn(classes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ArcFaceHead(4, classes, scale="auto").scale > scale_floor(classes)
        CosineHead(4, classes, scale=scale_floor(classes))


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf, "big"])
def test_a_bad_scale_is_an_error_that_names_it(scale):
    with pytest.raises(ValueError, match=f"scale must be .* got {scale!r}"):
        CosineHead(4, 10, scale=scale)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        *[(ArcFaceHead, "margin_rad", value) for value in (-0.1, 3.2, math.nan)],
        *[(CosFaceHead, "margin_cos", value) for value in (-0.1, 2.1, math.nan)],
        *[(SphereFaceHead, "margin_multiplier", value) for value in (0.9, math.inf, math.nan)],
        *[(kind, "gradient", "straight") for kind in (ArcFaceHead, SphereFaceHead)],
    ],
)
def test_a_bad_margin_or_gradient_is_an_error_that_names_option_and_value(kind, option, value):
    with pytest.raises(ValueError, match=f"{option} must .*got {value!r}"):
        kind(4, 10, **{option: value})


def test_a_single_class_is_an_error():
    with pytest.raises(ValueError, match="num_classes=1"):
        CosineHead(4, 1)


@pytest.mark.parametrize(("kind", "options"), [(CosineHead, {}), *MARGINS])
def test_under_autocast_the_logits_are_those_of_float32(kind, options, batch):
    head = kind(8, 5, **options)
    expected = head(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(*batch)
        halved = head(batch[0].bfloat16(), batch[1])
    assert found.dtype == halved.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("kind", "options"), [(CosineHead, {}), (LinearHead, {}), *MARGINS])
def test_the_logits_come_back_after_saving_and_loading_the_state(kind, options, batch, tmp_path):
    head, other = kind(8, 5, **options), kind(8, 5, **options)
    torch.save(head.state_dict(), tmp_path / "head.pth")
    assert not torch.equal(other(*batch), head(*batch))
    other.load_state_dict(torch.load(tmp_path / "head.pth", weights_only=True))
    assert torch.equal(other(*batch), head(*batch))


def test_the_printed_head_says_scale_margin_and_gradient():
    assert repr(ArcFaceHead(8, 10, scale=16, margin_rad=0.2)) == (
        "ArcFaceHead(8, 10, scale=16, margin_rad=0.2, gradient='straight_through')"
    )
    assert repr(SphereFaceHead(8, 10, scale=16, margin_multiplier=2, gradient="exact")) == (
        "SphereFaceHead(8, 10, scale=16, margin_multiplier=2, gradient='exact')"
    )
    assert repr(CosFaceHead(8, 10, scale=16)) == "CosFaceHead(8, 10, scale=16, margin_cos=0.1)"


COMBINED = {"margin_multiplier": 1.3, "margin_rad": 0.2, "margin_cos": 0.1}
EVERY_MARGIN = [
    *((kind, {**options, "gradient": form}) for kind, options in ANGULAR for form in ("straight_through", "exact")),
    (CosFaceHead, {"margin_cos": 0.3}),
    *(
        (kind, {**COMBINED, "gradient": form})
        for kind in (CombinedMarginHead, PartialFCHead, ShardedHead)
        for form in ("straight_through", "exact")
    ),
    (CombinedMarginHead, {"margin_rad": math.pi, "gradient": "exact"}),
    (SubCenterArcFaceHead, {"margin_rad": 0.5}),
    (SubCenterArcFaceHead, {"margin_rad": 0.5, "gradient": "exact"}),
]
every_margin = pytest.mark.parametrize(("kind", "options"), EVERY_MARGIN)


def combined_longhand(theta, m1, m2, m3):
    """(-1)^k cos(a) - 2k - m3 at a = m1 theta + m2 in [k pi, (k+1) pi]."""
    angle = m1 * theta + m2
    k = math.floor(angle / math.pi)
    return (-1) ** k * math.cos(angle) - 2 * k - m3


@pytest.mark.parametrize(
    ("combined", "other"),
    [
        ({"margin_rad": 0.4}, (ArcFaceHead, {"margin_rad": 0.4})),
        ({"margin_rad": 2.5}, (ArcFaceHead, {"margin_rad": 2.5})),
        ({"margin_rad": 0.0}, (ArcFaceHead, {"margin_rad": 0.0})),
        ({"margin_multiplier": 1.5, "margin_rad": 0.0}, (SphereFaceHead, {"margin_multiplier": 1.5})),
        ({"margin_multiplier": 4.0, "margin_rad": 0.0}, (SphereFaceHead, {"margin_multiplier": 4.0})),
    ],
)
@BOTH_GRADIENTS
def test_one_margin_alone_in_the_combined_head_is_exactly_arcface_or_sphereface(combined, other, gradient, batch):
    features, targets = batch
    kind, options = other
    one = CombinedMarginHead(8, 5, gradient=gradient, **combined)
    two = with_weight_of(kind(8, 5, gradient=gradient, **options), one)
    features.requires_grad_()
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    assert torch.equal(one(features, targets), two(features, targets))
    found = torch.autograd.grad((one(features, targets) * weights).sum(), (features, one.weight))
    expected = torch.autograd.grad((two(features, targets) * weights).sum(), (features, two.weight))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("margin", [0.0, 0.35, 2.0])
@BOTH_GRADIENTS
def test_a_cosine_margin_alone_in_the_combined_head_is_cosface(margin, gradient, batch):
    features, targets = batch
    one = CombinedMarginHead(8, 5, scale=16.0, margin_rad=0.0, margin_cos=margin, gradient=gradient)
    two = with_weight_of(CosFaceHead(8, 5, scale=16.0, margin_cos=margin), one)
    features.requires_grad_()
    found, expected = one(features, targets) / 16, two(features, targets) / 16
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad((found * weights).sum(), (features, one.weight))
    expected = torch.autograd.grad((expected * weights).sum(), (features, two.weight))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [CombinedMarginHead, PartialFCHead, ShardedHead])
@pytest.mark.parametrize("gradient", ["straight_through", "exact"])
@settings(deadline=None, max_examples=25)
@given(m1=st.one_of(st.just(1.0), st.floats(1, 5)), m2=st.floats(0, math.pi), m3=st.floats(0, 2))
def test_the_combined_margin_is_the_formula_with_its_continuation(kind, gradient, m1, m2, m3):
    head = kind(8, 5, margin_multiplier=m1, margin_rad=m2, margin_cos=m3, gradient=gradient)
    angles = [0.01 + i * (math.pi - 0.02) / 100 for i in range(101)]
    found = head.moved(torch.tensor(angles, dtype=torch.float64).cos())
    # The continuation joins at a = k pi, where a rounding error decides which branch: both are the same there.
    assert found.tolist() == pytest.approx([combined_longhand(t, m1, m2, m3) for t in angles], abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(m1=st.one_of(st.just(1.0), st.floats(1, 5)), m2=st.floats(0, math.pi), m3=st.floats(0, 2))
def test_the_combined_margin_falls_without_jumps_over_all_angles(m1, m2, m3):
    steps = 3000
    angles = torch.linspace(0, math.pi, steps, dtype=torch.float64)
    head = CombinedMarginHead(8, 5, margin_multiplier=m1, margin_rad=m2, margin_cos=m3)
    values = head.moved(angles.cos())
    falls = -values.diff()
    assert falls.min() >= -1e-6
    assert falls.max() <= m1 * math.pi / (steps - 1) + m1 * 1.1e-3
    assert values.max() <= 1 - m3 + 1e-6
    assert (values <= angles.cos() + 1e-6 + m1 * 1e-6).all()


@every_margin
def test_every_moved_cosine_and_its_gradient_are_finite_at_exactly_plus_and_minus_one(kind, options):
    beyond = 1.0 + 2**-22
    cosine = torch.tensor([1.0, -1.0, beyond, -beyond, 0.0], requires_grad=True)
    moved = kind(8, 5, **options).moved(cosine)
    moved.sum().backward()
    assert moved.isfinite().all()
    assert cosine.grad.isfinite().all()
    if options.get("gradient") != "exact":
        assert cosine.grad.tolist() == [1.0] * 5


@every_margin
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_margin_head_is_finite_for_features_aligned_with_a_class_vector(kind, options, sign):
    head = kind(64, 50, **options)
    centers = getattr(head, "centers", 1)
    features = (sign * 3 * head.weight.detach()[::centers]).requires_grad_()
    logits = head(features, torch.arange(50))
    cross_entropy(logits, torch.arange(50)).backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


@every_margin
def test_every_margin_head_is_finite_for_a_zero_feature(kind, options):
    head = kind(8, 5, **options)
    features = torch.zeros(2, 8, requires_grad=True)
    assert head(features).eq(0).all()
    logits = head(features, torch.tensor([0, 3]))
    cross_entropy(logits, torch.tensor([0, 3])).backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


@every_margin
def test_every_margin_head_moves_the_target_column_alone_and_down(kind, options, batch):
    features, targets = batch
    head = kind(8, 5, **options)
    difference = head(features, targets) - head(features)
    is_target = one_hot(targets, 5).bool()
    assert (difference[is_target] < -1e-3).all()
    assert (difference[~is_target] == 0).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("margin_multiplier", 0.9),
        ("margin_multiplier", math.inf),
        ("margin_rad", -0.1),
        ("margin_rad", 3.2),
        ("margin_cos", 2.1),
        ("margin_cos", math.nan),
        ("gradient", "straight"),
        ("margin_warmup", -1),
    ],
)
@pytest.mark.parametrize("kind", [CombinedMarginHead, PartialFCHead, ShardedHead])
def test_a_bad_option_of_the_combined_head_is_an_error_that_names_it(kind, option, value):
    with pytest.raises(ValueError, match=f"{option} must .*got {value!r}"):
        kind(4, 10, **{option: value})


@BOTH_GRADIENTS
def test_one_center_a_class_is_arcface(gradient, batch):
    features, targets = batch
    arcface = ArcFaceHead(8, 5, margin_rad=0.4, gradient=gradient)
    head = with_weight_of(SubCenterArcFaceHead(8, 5, margin_rad=0.4, centers=1, gradient=gradient), arcface)
    features.requires_grad_()
    assert torch.equal(head(features, targets), arcface(features, targets))
    assert torch.equal(head(features), arcface(features))
    found = torch.autograd.grad(head(features, targets).square().sum(), (features, head.weight))
    expected = torch.autograd.grad(arcface(features, targets).square().sum(), (features, arcface.weight))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("centers", [2, 3, 5])
def test_several_centers_a_class_count_by_the_nearest(centers, batch):
    features, targets = batch
    head = SubCenterArcFaceHead(8, 5, scale=10.0, margin_rad=0.4, centers=centers)
    assert head.weight.shape == (5 * centers, 8)
    vectors = head.weight.detach().tolist()
    for row, feature, y in zip(head(features, targets).tolist(), features.tolist(), targets.tolist(), strict=True):
        cosines = [max(cosine_longhand(feature, vectors[k * centers + c]) for c in range(centers)) for k in range(5)]
        expected = [10 * (arcface_longhand(math.acos(c), 0.4) if k == y else c) for k, c in enumerate(cosines)]
        assert row == pytest.approx(expected, abs=1e-4)


def test_only_the_nearest_center_of_each_class_gets_a_gradient(batch):
    features, targets = batch
    head = SubCenterArcFaceHead(8, 5, centers=3)
    cross_entropy(head(features[:1], targets[:1]), targets[:1]).backward()
    nearest = (normalize(features[:1]) @ normalize(head.weight.detach()).T).view(5, 3).argmax(dim=1)
    touched = head.weight.grad.abs().sum(dim=1).view(5, 3) > 0
    assert torch.equal(touched, one_hot(nearest, 3).bool())


def test_no_center_at_all_is_an_error():
    with pytest.raises(ValueError, match="centers must be a whole number between 1 and 1000, got 0"):
        SubCenterArcFaceHead(8, 5, centers=0)


@pytest.mark.parametrize("classes", [3, 10, 1000])
def test_the_adaptive_scale_starts_at_the_square_root_of_two_times_the_log_of_the_wrong_classes(classes):
    expected = math.sqrt(2) * math.log(classes - 1)
    assert AdaCosHead(4, classes).scale.item() == pytest.approx(expected, rel=1e-6)
    assert ArcFaceHead(4, classes, scale="adaptive").scale.item() == pytest.approx(expected, rel=1e-6)


def adacos_longhand(scale, features, vectors, targets):
    """Equation 15 of the paper: log(B_avg) / cos(min(pi/4, theta_med)), and the median angle."""
    rows = [[cosine_longhand(f, w) for w in vectors] for f in features]
    sums = [
        math.fsum(math.exp(scale * c) for k, c in enumerate(row) if k != y)
        for row, y in zip(rows, targets, strict=True)
    ]
    angles = [math.acos(row[y]) for row, y in zip(rows, targets, strict=True)]
    middle = statistics.median_low(angles)
    return math.log(math.fsum(sums) / len(sums)) / math.cos(min(math.pi / 4, middle)), middle


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 5, 30])
@pytest.mark.parametrize("kind", [AdaCosHead, ArcFaceHead])
def test_each_training_step_moves_the_adaptive_scale_by_the_equations_of_the_paper(kind, rows, near):
    generator = torch.Generator().manual_seed(5)
    head = kind(8, 12) if kind is AdaCosHead else kind(8, 12, scale="adaptive")
    scale = math.sqrt(2) * math.log(11)
    for _ in range(3):
        targets = torch.randint(12, (rows,), generator=generator)
        sign = 1 if near else -1
        features = sign * head.weight.detach()[targets] + 0.1 * torch.randn(rows, 8, generator=generator)
        logits = head(features, targets)
        scale, middle = adacos_longhand(scale, features.tolist(), head.weight.tolist(), targets.tolist())
        assert (middle < math.pi / 4) == near
        assert head.scale.item() == pytest.approx(scale, rel=1e-5)
        # The step's own logits have the scale after it.
        wrong = 1 - one_hot(targets, 12)
        cosines = normalize(features) @ normalize(head.weight).T
        torch.testing.assert_close(logits * wrong, scale * cosines * wrong, atol=1e-4, rtol=0)


def test_the_adaptive_scale_stays_in_evaluation_mode_and_without_targets(batch):
    features, targets = batch
    head = AdaCosHead(8, 5)
    start = head.scale.item()
    head(features)
    head.eval()
    head(features, targets)
    head.target_split(features, targets)
    assert head.scale.item() == start
    head.train()
    head.target_split(features, targets)
    assert head.scale.item() != start


def test_the_adaptive_scale_is_part_of_the_state_and_no_parameter(batch, tmp_path):
    head, other = AdaCosHead(8, 5), AdaCosHead(8, 5)
    for _ in range(3):
        head(*batch)
    torch.save(head.state_dict(), tmp_path / "head.pth")
    other.load_state_dict(torch.load(tmp_path / "head.pth", weights_only=True))
    assert other.scale.item() == head.scale.item() != AdaCosHead(8, 5).scale.item()
    assert torch.equal(other.eval()(*batch), head.eval()(*batch))
    assert [name for name, _ in head.named_parameters()] == ["weight"]


@pytest.mark.parametrize("kind", [CosineHead, ArcFaceHead, CosFaceHead])
def test_an_adaptive_scale_for_two_classes_is_an_error(kind):
    with pytest.raises(ValueError, match="adaptive scale needs at least 3 classes, got num_classes=2"):
        kind(4, 2, scale="adaptive")
    with pytest.raises(ValueError, match="at least 3 classes"):
        AdaCosHead(4, 2)


def test_heads_that_do_not_see_all_cosines_refuse_an_adaptive_scale():
    with pytest.raises(ValueError, match="adaptive"):
        PartialFCHead(4, 10, scale="adaptive")
    with pytest.raises(ValueError, match="adaptive"):
        ShardedHead(4, 10, scale="adaptive")


@pytest.mark.parametrize(("kind", "options"), [(CosineHead, {}), *MARGINS, (CombinedMarginHead, COMBINED)])
def test_the_gradient_of_a_learned_scale_is_that_of_finite_differences(kind, options, batch):
    features, targets = batch
    head = kind(8, 5, scale="learned", **options)
    start = math.log(CosineHead(8, 5, scale="auto").scale)
    assert head.log_scale.item() == pytest.approx(start, rel=1e-6)
    cross_entropy(head(features, targets), targets).backward()
    cosines = (head(features, targets) / head.scale).detach().double()

    def loss(log_scale):
        return cross_entropy(math.exp(log_scale) * cosines, targets).item()

    expected = (loss(start + 1e-5) - loss(start - 1e-5)) / 2e-5
    assert abs(expected) > 0.01
    assert head.log_scale.grad.item() == pytest.approx(expected, rel=1e-5)


def test_a_learned_scale_stays_positive_however_far_it_is_pushed(batch):
    features, targets = batch
    head = CosineHead(8, 5, scale="learned")
    start = head.scale.item()
    features = -head.weight.detach()[targets]  # wrong of every one: the scale falls
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    scales = []
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(head(features, targets), targets).backward()
        head.weight.grad = None
        optimizer.step()
        scales.append(head.scale.item())
    assert scales[-1] < 0.01 * start
    assert min(scales) > 0
    with torch.no_grad():
        head.log_scale.fill_(-80)
    assert head.scale.item() > 0


@pytest.mark.parametrize(("kind", "options"), [*MARGINS, (CombinedMarginHead, COMBINED), (SubCenterArcFaceHead, {})])
@pytest.mark.parametrize("separated", [False, True])
def test_the_margin_warms_up_from_nothing_to_half_of_the_move_to_the_whole(kind, options, separated, batch):
    features, targets = batch
    head = kind(8, 5, margin_warmup=4, **options)
    whole = with_weight_of(kind(8, 5, **options), CosineHeadState(head))

    def target_logit(of):
        if separated:
            return of.target_split(features, targets).target
        return of(features, targets).gather(1, targets[:, None]).squeeze(1)

    plain = head(features).gather(1, targets[:, None]).squeeze(1)
    move = target_logit(whole) - plain
    assert (move.abs() > 1e-3).all()
    for share in (0, 0.25, 0.5, 0.75, 1, 1, 1):
        torch.testing.assert_close(target_logit(head), plain + share * move, atol=2e-5, rtol=0)


class CosineHeadState:
    """The state of a head without the count of its steps."""

    def __init__(self, head):
        self.head = head

    def state_dict(self):
        return {name: value for name, value in self.head.state_dict().items() if name != "steps"}


def test_calls_in_evaluation_mode_or_without_targets_are_no_steps_of_the_warm_up(batch):
    features, targets = batch
    head = ArcFaceHead(8, 5, margin_rad=0.5, margin_warmup=4)
    head(features)
    head.eval()
    for _ in range(3):
        assert torch.equal(head(features, targets), head(features))
        head.target_split(features, targets)
    assert head.steps.item() == 0
    head.train()
    for count in range(1, 4):
        head(features, targets)
        assert head.steps.item() == count
    head.target_split(features, targets)
    assert head.steps.item() == 4


def test_the_warm_up_goes_on_where_it_was_after_saving_and_loading(batch, tmp_path):
    head, other = (ArcFaceHead(8, 5, margin_rad=0.5, margin_warmup=10) for _ in range(2))
    for _ in range(5):
        head(*batch)
    torch.save(head.state_dict(), tmp_path / "head.pth")
    other.load_state_dict(torch.load(tmp_path / "head.pth", weights_only=True))
    assert other.steps.item() == 5
    assert torch.equal(other(*batch), head(*batch))
    assert "steps" not in ArcFaceHead(8, 5).state_dict()


def test_the_neck_gives_every_feature_mean_zero_and_variance_one_over_the_batch():
    generator = torch.Generator().manual_seed(6)
    features = 5 + 3 * torch.randn(64, 16, generator=generator)
    found = Neck(16)(features)
    assert found.shape == (64, 16)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(dim=0, correction=0), torch.ones(16), atol=1e-3, rtol=0)


def test_behind_the_neck_features_of_one_sign_lie_on_both_sides_of_a_right_angle():
    features = torch.randn(64, 16, generator=torch.Generator().manual_seed(6)).relu()
    before = normalize(features)
    assert (before @ before.T).min() >= 0
    found = Neck(16)(features)
    assert 0.3 < (found < 0).float().mean() < 0.7
    after = normalize(found)
    apart = (after @ after.T)[~torch.eye(64, dtype=torch.bool)]
    assert 0.3 < (apart < 0).float().mean() < 0.7
    assert apart.min() < -0.3


def test_in_evaluation_mode_the_neck_treats_each_example_alone():
    generator = torch.Generator().manual_seed(6)
    neck = Neck(16)
    neck(torch.randn(64, 16, generator=generator))
    neck.eval()
    features = torch.randn(5, 16, generator=generator)
    together = neck(features)
    for row, alone in zip(together, features, strict=True):
        torch.testing.assert_close(neck(alone[None])[0], row)


@every_margin
@pytest.mark.parametrize(
    "targets",
    [torch.full((6, 5), 0.2), torch.zeros(6), torch.zeros(6, 5, dtype=torch.long)],
    ids=["soft", "real", "2d"],
)
def test_targets_that_are_no_indices_are_an_error_of_every_margin_head(kind, options, targets, batch):
    head = kind(8, 5, **options)
    for call in (head, head.target_split):
        with pytest.raises(ValueError, match=rf"{kind.__name__} needs class indices \[B\], got (float32|int64) \[6"):
            call(batch[0], targets)


def test_a_cosine_head_takes_soft_targets_unless_its_scale_adapts(batch):
    soft = torch.full((6, 5), 0.2)
    head = CosineHead(8, 5)
    assert torch.equal(head(batch[0], soft), head(batch[0]))
    with pytest.raises(ValueError, match="soft targets"):
        AdaCosHead(8, 5)(batch[0], soft)


def test_the_printed_head_says_how_its_scale_is_found():
    assert repr(AdaCosHead(8, 10)) == "AdaCosHead(8, 10, scale=3.10734 (adaptive))"
    assert repr(CosineHead(8, 10, scale="learned")) == f"CosineHead(8, 10, scale={CosineHead(8, 10).scale:g} (learned))"
    assert repr(SubCenterArcFaceHead(8, 10, scale=16)) == (
        "SubCenterArcFaceHead(8, 10, scale=16, margin_rad=0.1, gradient='straight_through', centers=3)"
    )
    assert repr(CombinedMarginHead(8, 10, scale=16, **COMBINED)) == (
        "CombinedMarginHead(8, 10, scale=16, margin_multiplier=1.3, margin_rad=0.2, margin_cos=0.1, "
        "gradient='straight_through')"
    )


def test_an_angle_near_zero_loses_nothing_at_scale_64():
    """The floor below the root bounds the slope of the sine alone: it once cost 0.03 of the logit."""
    cosine = torch.ones(1, dtype=torch.float64, requires_grad=True)
    moved = 64 * add_angle(cosine, 0.5)
    assert moved.item() == pytest.approx(64 * math.cos(0.5), abs=1e-12)
    assert 64 * psi(cosine, 2.0, 0.5).item() == pytest.approx(64 * math.cos(0.5), abs=1e-12)
    near = torch.tensor([1 - 1e-7], dtype=torch.float64, requires_grad=True)
    assert add_angle(near, 0.5).item() == pytest.approx(math.cos(math.acos(1 - 1e-7) + 0.5), abs=1e-12)
    (slope,) = torch.autograd.grad(add_angle(near, 0.5).sum(), near)
    assert abs(slope.item()) < 1000


@pytest.mark.parametrize("kind", [LinearHead, CosineHead, ArcFaceHead, SubCenterArcFaceHead])
@pytest.mark.parametrize(
    "features", [torch.ones(2, 8, dtype=torch.int64), torch.ones(2, 7), torch.ones(8), torch.ones(2, 8, 1)]
)
def test_what_is_no_batch_of_features_is_refused(kind, features):
    head = kind(8, 5)
    with pytest.raises(ValueError, match="a head for 8 features needs floating-point features"):
        head(features)


@pytest.mark.parametrize("target", [-1, 5, 2**40])
def test_a_target_that_is_no_class_is_refused_by_every_head_and_loss(target):
    targets = torch.tensor([0, target])
    said = f"between 0 and 4 for 5 classes, got {target}"
    with pytest.raises(ValueError, match=said):
        ArcFaceHead(8, 5)(torch.randn(2, 8), targets)
    for name in LOSSES.names:
        with pytest.raises(ValueError, match=said):
            LOSSES[name](torch.zeros(2, 5), targets)
        with pytest.raises(ValueError, match=said):
            Objective(LinearHead(8, 5), {"cross_entropy": 1.0, name: 1.0})(torch.randn(2, 8), targets)
