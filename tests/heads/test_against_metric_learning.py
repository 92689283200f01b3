"""Heads against pytorch-metric-learning: equal values and gradients where definitions agree, and each difference.

The library has whole losses, whose weight is ``[D, K]`` and whose angular margins are in degrees.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from afield.heads import ArcFaceHead, CosFaceHead, CosineHead, SphereFaceHead, SubCenterArcFaceHead
from afield.heads.kernel import NORM_FLOOR
from afield.losses.cross_entropy import split_cross_entropy
from afield.objective import Objective

losses = pytest.importorskip("pytorch_metric_learning.losses", reason="pytorch-metric-learning is not installed")

B, K, D, S = 24, 7, 16, 16.0


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


FEATURES = 3 * random(B, D)
TARGETS = torch.randint(K, (B,), generator=torch.Generator().manual_seed(1))


def pair(kind, options, loss, settings, vectors=1):
    """A head and the library's loss, with the same class vectors."""
    weight = random(K * vectors, D, seed=2)
    head = kind(D, K, **{"scale": S, **options})
    theirs = loss(num_classes=K, embedding_size=D, **settings)
    head.load_state_dict({"weight": weight})
    theirs.load_state_dict({"W": weight.T.contiguous()})
    return head, theirs


def ours_and_gradients(head, features=FEATURES, targets=TARGETS):
    x = features.clone().requires_grad_()
    loss = split_cross_entropy(head.target_split(x, targets)).mean()
    return loss, torch.autograd.grad(loss, (x, head.weight))


def theirs_and_gradients(loss, features=FEATURES, targets=TARGETS, before=lambda x: x):
    x = features.clone().requires_grad_()
    value = loss(before(x), targets)
    to_features, to_weight = torch.autograd.grad(value, (x, loss.W))
    return value, (to_features, to_weight.T)


def assert_the_same(ours, theirs):
    assert ours[0].item() == pytest.approx(theirs[0].item(), rel=2e-6)
    for a, b in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(a, b, atol=2e-5 * b.abs().max().item(), rtol=0)


def target_angles(head, features=FEATURES, targets=TARGETS):
    cosines = head.cosines(features).gather(1, targets[:, None])
    return cosines.squeeze(1).detach().clamp(-1, 1).acos()


def on_the_unit_circle(*angles):
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles], dtype=torch.float64).float()


# Where the definitions agree.


@pytest.mark.parametrize("margin_rad", [0.05, 0.2, 0.5])
def test_arcface_has_the_values_and_gradients_of_arcfaceloss_up_to_pi(margin_rad):
    settings = {"margin": math.degrees(margin_rad), "scale": S}
    head, theirs = pair(ArcFaceHead, {"margin_rad": margin_rad, "gradient": "exact"}, losses.ArcFaceLoss, settings)
    assert target_angles(head).max() + margin_rad < math.pi
    assert_the_same(ours_and_gradients(head), theirs_and_gradients(theirs))
    torch.testing.assert_close(head(FEATURES), theirs.get_logits(FEATURES), atol=2e-5, rtol=0)


@pytest.mark.parametrize("margin", [0.1, 0.35, 1.0])
def test_cosface_has_the_values_and_gradients_of_cosfaceloss(margin):
    head, theirs = pair(CosFaceHead, {"margin_cos": margin}, losses.CosFaceLoss, {"margin": margin, "scale": S})
    assert_the_same(ours_and_gradients(head), theirs_and_gradients(theirs))


@pytest.mark.parametrize("multiplier", [1, 2, 3, 4])
def test_sphereface_has_the_values_and_gradients_of_spherefaceloss_on_features_of_unit_length(multiplier):
    head, theirs = pair(
        SphereFaceHead,
        {"margin_multiplier": multiplier, "gradient": "exact"},
        losses.SphereFaceLoss,
        {"margin": multiplier, "scale": S},
    )
    if multiplier > 2:
        assert (multiplier * target_angles(head) > math.pi).any()  # on the continuation, which is the same
    assert_the_same(ours_and_gradients(head), theirs_and_gradients(theirs, before=F.normalize))


@pytest.mark.parametrize("temperature", [0.05, 0.1])
def test_the_cosine_head_has_the_values_and_gradients_of_normalizedsoftmaxloss_at_a_scale_of_one_over_its_temperature(
    temperature,
):
    head, theirs = pair(
        CosineHead, {"scale": 1 / temperature}, losses.NormalizedSoftmaxLoss, {"temperature": temperature}
    )
    assert_the_same(ours_and_gradients(head), theirs_and_gradients(theirs))


@pytest.mark.parametrize("centers", [1, 2, 3])
def test_subcenter_arcface_has_the_values_and_gradients_of_subcenterarcfaceloss(centers):
    head, theirs = pair(
        SubCenterArcFaceHead,
        {"margin_rad": 0.3, "centers": centers, "gradient": "exact"},
        losses.SubCenterArcFaceLoss,
        {"margin": math.degrees(0.3), "scale": S, "sub_centers": centers},
        centers,
    )
    assert_the_same(ours_and_gradients(head), theirs_and_gradients(theirs))


def test_the_mean_over_the_batch_is_the_same_as_an_objectives():
    head, theirs = pair(CosFaceHead, {"margin_cos": 0.3}, losses.CosFaceLoss, {"margin": 0.3, "scale": S})
    found = Objective(head, {"cross_entropy": 1.0})(FEATURES, TARGETS)
    assert found.item() == pytest.approx(theirs(FEATURES, TARGETS).item(), rel=2e-6)


# Where they differ.


def test_their_margin_is_in_degrees():
    head, theirs = pair(
        ArcFaceHead, {"margin_rad": 0.5, "gradient": "exact"}, losses.ArcFaceLoss, {"margin": 0.5, "scale": S}
    )
    ours, degrees = ours_and_gradients(head)[0].item(), theirs(FEATURES, TARGETS).item()
    hardly, _ = pair(ArcFaceHead, {"margin_rad": math.radians(0.5)}, losses.ArcFaceLoss, {})
    assert degrees == pytest.approx(ours_and_gradients(hardly)[0].item(), rel=2e-6)
    assert ours > degrees + 1


def test_beyond_pi_their_arcface_jumps_and_is_above_ours_until_the_angle_is_pi():
    m = 0.5
    head, theirs = pair(ArcFaceHead, {"margin_rad": m}, losses.ArcFaceLoss, {"margin": math.degrees(m)})
    edge = math.pi - m
    cosine = torch.tensor([edge - 1e-4, edge + 1e-4, math.pi - 0.01]).cos()
    usual = theirs.modify_cosine_of_target_classes(cosine)
    ours = head.moved(cosine)
    # Up to pi the same, cos(theta + m); then theirs is cos(theta) - m sin(m), a fall of 0.117 for 0.0002 rad.
    assert usual[0].item() == pytest.approx(ours[0].item(), abs=1e-6)
    assert usual[1].item() == pytest.approx(math.cos(edge) - m * math.sin(m), abs=2e-4)
    assert (usual[0] - usual[1]).item() == pytest.approx(0.117, abs=1e-3)
    assert (ours[0] - ours[1]).abs().item() < 1e-6
    assert usual[2].item() == pytest.approx(-1.24, abs=0.01)
    assert ours[2].item() == pytest.approx(-2 - math.cos(math.pi - 0.01 + m), abs=1e-5)
    assert ours[2].item() == pytest.approx(-1.127, abs=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_next_to_a_pole_their_gradient_is_thousands_and_on_it_or_past_it_none_where_ours_goes_on(sign):
    # Theirs goes through acos(clamp(c, -1, 1)), whose slope is -1/sin(theta).
    m = 0.3
    cosine = sign * torch.tensor([1 - 2**-24, 1.0, 1 + 2**-22])
    theirs = pair(ArcFaceHead, {}, losses.ArcFaceLoss, {"margin": math.degrees(m)})[1].modify_cosine_of_target_classes
    exact, straight = (ArcFaceHead(D, K, margin_rad=m, gradient=form).moved for form in ("exact", "straight_through"))

    def slopes(move):
        x = cosine.clone().requires_grad_()
        return torch.autograd.grad(move(x).sum(), x)[0].tolist()

    if sign > 0:
        assert slopes(theirs)[0] == pytest.approx(math.sin(m) * 2**11.5, rel=0.01)  # 857
    else:
        assert slopes(theirs)[0] == pytest.approx(1, rel=0.01)  # on the continuation c - m sin m
    assert not math.isfinite(slopes(theirs)[1]) or slopes(theirs)[1] == 0  # which of them is PyTorch's clamp's choice
    assert slopes(theirs)[2] == 0
    # Within 0.001 rad of a pole our sine is held at a floor and has no slope: what is left is cos(m), of either sign.
    assert slopes(exact) == pytest.approx([sign * math.cos(m)] * 3, rel=1e-6)
    assert slopes(straight) == [1.0] * 3


@pytest.mark.parametrize("angle", [0.5, 0.02, 0.002])
def test_their_gradient_grows_as_the_angle_falls_where_straight_through_it_is_one(angle):
    m = 0.5
    expected = math.sin(angle + m) / math.sin(angle)
    cosine = torch.tensor([math.cos(angle)], dtype=torch.float64, requires_grad=True)
    _, theirs = pair(ArcFaceHead, {}, losses.ArcFaceLoss, {"margin": math.degrees(m)})
    slopes = [
        torch.autograd.grad(move(cosine).sum(), cosine)[0].item()
        for move in (
            theirs.modify_cosine_of_target_classes,
            ArcFaceHead(D, K, margin_rad=m, gradient="exact").moved,
            ArcFaceHead(D, K, margin_rad=m).moved,
        )
    ]
    assert slopes[0] == pytest.approx(expected, rel=1e-6)
    assert slopes[1] == pytest.approx(expected, rel=1e-6)
    assert slopes[2] == 1


def test_the_default_gradient_of_arcface_is_not_theirs():
    settings = {"margin": math.degrees(0.3), "scale": S}
    head, theirs = pair(ArcFaceHead, {"margin_rad": 0.3}, losses.ArcFaceLoss, settings)
    ours, (to_features, _) = ours_and_gradients(head)
    value, (reference, _) = theirs_and_gradients(theirs)
    assert ours.item() == pytest.approx(value.item(), rel=2e-6)
    assert (to_features - reference).abs().max() > 0.01 * reference.abs().max()


def test_their_sphereface_scales_by_the_length_of_the_features():
    head, theirs = pair(SphereFaceHead, {"margin_multiplier": 2}, losses.SphereFaceLoss, {"margin": 2, "scale": S})
    lengths = FEATURES.norm(dim=1, keepdim=True)
    torch.testing.assert_close(theirs.get_logits(FEATURES / lengths), head(FEATURES), atol=5e-5, rtol=0)
    # get_logits has the length of the class vectors too, in LargeMarginSoftmaxLoss; here only that of the features.
    torch.testing.assert_close(theirs.get_logits(FEATURES), lengths * head(FEATURES), atol=1e-3, rtol=1e-5)
    assert theirs(2 * FEATURES, TARGETS).item() > 1.5 * theirs(FEATURES, TARGETS).item()
    assert ours_and_gradients(head, 2 * FEATURES)[0].item() == pytest.approx(
        ours_and_gradients(head)[0].item(), rel=1e-6
    )


def test_their_sphereface_cuts_a_margin_to_a_whole_number():
    _, theirs = pair(SphereFaceHead, {}, losses.SphereFaceLoss, {"margin": 1.9, "scale": S})
    plain, _ = pair(SphereFaceHead, {"margin_multiplier": 1}, losses.SphereFaceLoss, {})
    ours, _ = pair(SphereFaceHead, {"margin_multiplier": 1.9}, losses.SphereFaceLoss, {})
    value = theirs(F.normalize(FEATURES), TARGETS).item()
    assert value == pytest.approx(ours_and_gradients(plain)[0].item(), rel=1e-5)
    assert ours_and_gradients(ours)[0].item() > value + 1


def test_they_have_no_combined_margin():
    assert not [name for name in dir(losses) if "combined" in name.lower()]


def test_their_ignored_rows_count_in_the_mean_or_raise():
    ignored = TARGETS.clone()
    ignored[:6] = -100
    head, theirs = pair(CosineHead, {"scale": 20.0}, losses.NormalizedSoftmaxLoss, {"temperature": 0.05})
    ours = Objective(head, {"cross_entropy": 1.0})(FEATURES, ignored).item()
    assert ours == pytest.approx(theirs(FEATURES[6:], TARGETS[6:]).item(), rel=2e-6)
    assert theirs(FEATURES, ignored).item() == pytest.approx(ours * 18 / 24, rel=2e-6)
    head, theirs = pair(CosFaceHead, {}, losses.CosFaceLoss, {})
    with pytest.raises(IndexError, match="index -100 is out of bounds"):
        theirs(FEATURES, ignored)
    assert math.isfinite(Objective(head, {"cross_entropy": 1.0})(FEATURES, ignored).item())


def test_they_take_no_soft_targets():
    head, theirs = pair(CosineHead, {}, losses.NormalizedSoftmaxLoss, {"temperature": 1 / S})
    soft = F.one_hot(TARGETS, K).float()
    with pytest.raises(ValueError, match="labels must be a 1D tensor"):
        theirs(FEATURES, soft)
    found = Objective(head, {"cross_entropy": 1.0})(FEATURES, soft)
    assert found.item() == pytest.approx(theirs(FEATURES, TARGETS).item(), rel=2e-6)


def test_half_features_round_their_class_vectors_for_good_and_ours_stay():
    settings = {"margin": 0.3, "scale": 64.0}
    head, theirs = pair(CosFaceHead, {"margin_cos": 0.3, "scale": 64.0}, losses.CosFaceLoss, settings)
    before = theirs.W.detach().clone()
    half = FEATURES.bfloat16()
    exact = ours_and_gradients(head, half.float())[0].item()
    value = theirs(half, TARGETS)
    assert value.dtype == theirs.W.dtype == torch.bfloat16
    assert (theirs.W.detach().float() - before).abs().max() > 1e-3
    assert abs(value.item() - exact) > 1e-2
    found = ours_and_gradients(head, half)[0]
    assert found.dtype == head.weight.dtype == torch.float32
    assert found.item() == exact


def test_a_zero_feature_has_a_gradient_of_a_trillion_in_theirs_and_below_ten_thousand_in_ours():
    head, theirs = pair(CosFaceHead, {"margin_cos": 0.3}, losses.CosFaceLoss, {"margin": 0.3, "scale": S})
    features = torch.zeros(1, D)
    _, (ours, _) = ours_and_gradients(head, features, TARGETS[:1])
    _, (reference, _) = theirs_and_gradients(theirs, features, TARGETS[:1])
    assert 1e3 < ours.abs().max() < 1e4
    torch.testing.assert_close(reference / ours, torch.full((1, D), NORM_FLOOR / 1e-12), rtol=1e-3, atol=0)


def test_they_keep_copies_of_class_vectors_and_logits_for_the_backward_pass_and_ours_keeps_one_buffer():
    head, theirs = pair(ArcFaceHead, {"margin_rad": 0.3}, losses.ArcFaceLoss, {"margin": math.degrees(0.3), "scale": S})

    def kept(call, weight):
        sizes = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if tensor.is_floating_point() and storage.data_ptr() != weight.untyped_storage().data_ptr():
                sizes[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            call(FEATURES.clone().requires_grad_()).backward()
        return list(sizes.values())

    ours = kept(lambda x: split_cross_entropy(head.target_split(x, TARGETS)).mean(), head.weight)
    copied = kept(lambda x: theirs(x, TARGETS), theirs.W)
    assert ours.count(K * D) == 0  # and one [B, K] buffer that the kernel keeps itself
    assert ours.count(B * K) == 0
    assert copied.count(K * D) >= 1
    assert copied.count(B * K) >= 2
