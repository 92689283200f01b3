"""Heads against cosines and angles written out by hand, with the poles, beyond pi, and the gradients."""

import math
import warnings

import pytest
import torch
from torch.autograd import gradcheck

from afield.heads import (
    ArcFaceHead,
    CosFaceHead,
    CosineHead,
    LinearHead,
    SphereFaceHead,
    reachable_probability,
    scale_floor,
)
from afield.heads.angular import add_angle
from afield.heads.angular import multiply_angle as psi

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
def test_a_neutral_margin_is_the_normalised_softmax(kind, options, batch):
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
    torch.nn.functional.cross_entropy(logits, torch.arange(50)).backward()
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


@pytest.mark.parametrize(("classes", "floor", "automatic"), [(10, 4.0, 16), (100, 6.7, 27), (1000, 9.1, 36)])
def test_the_scale_floor_for_ten_hundred_and_thousand_classes(classes, floor, automatic):
    assert scale_floor(classes) == pytest.approx(floor, abs=0.05)
    assert scale_floor(classes) == pytest.approx(
        (classes - 1) / classes * math.log((classes - 1) * 0.9 / 0.1), abs=1e-12
    )
    assert CosineHead(4, classes).scale == pytest.approx(automatic, abs=0.5)


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
