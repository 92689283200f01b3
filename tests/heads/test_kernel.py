"""The one-kernel cosine heads against the composed path and float64: values, gradients, memory, repeated passes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from afield.heads import (
    HEADS,
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
    kernel,
)
from afield.heads.kernel import NORM_FLOOR, split_cosines, unit
from afield.losses import complement_flattening, cross_entropy
from afield.losses.cross_entropy import split_cross_entropy
from afield.losses.flattening import split_flattening
from afield.objective import Objective
from afield.target_split import TargetSplit, composed, split_target
from afield.types import SplittingHead

COMBINED = {"margin_multiplier": 1.2, "margin_rad": 0.2, "margin_cos": 0.1}
EXACT = {"gradient": "exact"}
EVERY = [
    (CosineHead, {}),
    (ArcFaceHead, {"margin_rad": 0.3}),
    (ArcFaceHead, {"margin_rad": 0.3, **EXACT}),
    (CosFaceHead, {"margin_cos": 0.3}),
    (SphereFaceHead, {"margin_multiplier": 1.5}),
    (SphereFaceHead, {"margin_multiplier": 1.5, **EXACT}),
    (CombinedMarginHead, COMBINED),
    (CombinedMarginHead, {**COMBINED, **EXACT}),
    (SubCenterArcFaceHead, {"margin_rad": 0.3}),
    (SubCenterArcFaceHead, {"margin_rad": 0.3, **EXACT}),
    (AdaCosHead, {}),
    (PartialFCHead, {"share": 1.0, **COMBINED}),
    (PartialFCHead, {"share": 1.0, **COMBINED, **EXACT}),
    (ShardedHead, COMBINED),
    (ShardedHead, {**COMBINED, **EXACT}),
]
MARGINS = [(kind, options) for kind, options in EVERY if kind not in (CosineHead, AdaCosHead)]
every_head = pytest.mark.parametrize(("kind", "options"), EVERY)
every_size = pytest.mark.parametrize(("rows", "classes", "dimensions"), [(1, 3, 2), (7, 5, 8), (33, 41, 16)])


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def batch_of(rows=7, classes=5, dimensions=8):
    targets = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(1))
    return random(rows, dimensions), targets


def make(kind, options, classes=5, dimensions=8):
    torch.manual_seed(2)
    return kind(dimensions, classes, **options)


def gradients(loss, *tensors, **options):
    found = torch.autograd.grad(loss, tensors, **options)
    return [g.to_dense() if g.is_sparse else g for g in found]


def summed(parts, seed=5):
    """The three values of each example, each times a number of its own."""
    factors = random(len(parts), *parts[0].shape, seed=seed).to(parts[0])
    return sum((f * part).sum() for f, part in zip(factors, parts, strict=True))


def assert_all_close(found, expected, tolerance):
    """Each tensor to `tolerance` times its largest value."""
    for one, other in zip(found, expected, strict=True):
        largest = max(other.abs().max().item(), 1e-30)
        torch.testing.assert_close(one.to(other.dtype), other, atol=tolerance * largest, rtol=0)


def in_float64(features, weight, targets, scale):
    """Target cosine, logsumexp and sum of the other scaled cosines, composed in float64."""

    def normal(x):
        return x / x.norm(dim=1, keepdim=True).clamp(min=NORM_FLOOR)

    cosines = normal(features) @ normal(weight).T
    is_target = F.one_hot(targets, len(weight)).bool()
    logits = scale * cosines
    return (
        cosines[is_target],
        logits.masked_fill(is_target, -torch.inf).logsumexp(dim=1),
        logits.masked_fill(is_target, 0).sum(dim=1),
    )


class Plain(nn.Module):
    """A head that cannot keep target and others apart."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.in_features, self.num_classes = head.in_features, head.num_classes

    def forward(self, features, targets=None):
        return self.head(features, targets)

    def products(self, features):
        return self.head.products(features)


def test_every_registered_head_that_separates_is_tested_here():
    separating = {HEADS[name] for name in HEADS.names if hasattr(HEADS[name], "target_split")}
    assert separating == {kind for kind, _ in EVERY}
    assert isinstance(make(ArcFaceHead, {}), SplittingHead)
    assert not isinstance(LinearHead(8, 5), SplittingHead)
    assert not isinstance(Plain(ArcFaceHead(8, 5)), SplittingHead)


@every_head
@every_size
def test_separated_is_what_the_composed_path_gives(kind, options, rows, classes, dimensions):
    features, targets = batch_of(rows, classes, dimensions)
    fused, plain = (make(kind, options, classes, dimensions) for _ in range(2))
    one, other = (features.clone().requires_grad_() for _ in range(2))
    found, expected = fused.target_split(one, targets), split_target(plain(other, targets), targets)
    assert all(part.dtype == torch.float32 and part.shape == (rows,) for part in found)
    assert_all_close(found, expected, 2e-6)
    assert_all_close(
        gradients(summed(found), one, fused.weight), gradients(summed(expected), other, plain.weight), 2e-5
    )


@every_head
@pytest.mark.parametrize("scale", ["auto", "learned"])
def test_the_fused_cross_entropy_is_pytorchs_on_the_heads_logits(kind, options, scale):
    if scale == "learned" and kind in (AdaCosHead, ShardedHead):
        return
    options = options if scale == "auto" else {**options, "scale": scale}
    features, targets = batch_of(33, 41, 16)
    fused, plain = (make(kind, options, 41, 16) for _ in range(2))
    one, other = (features.clone().requires_grad_() for _ in range(2))
    found = split_cross_entropy(fused.target_split(one, targets)).mean()
    expected = F.cross_entropy(plain(other, targets), targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_all_close(gradients(found, one, *fused.parameters()), gradients(expected, other, *plain.parameters()), 2e-5)


@every_size
@pytest.mark.parametrize("chunk", [1, 400, 2**20])
def test_values_and_gradients_are_those_of_float64_in_chunks_of_any_size(rows, classes, dimensions, chunk, monkeypatch):
    monkeypatch.setattr(kernel, "CHUNK_BYTES", chunk)
    features, targets = batch_of(rows, classes, dimensions)
    weight, scale = random(classes, dimensions, seed=3), torch.tensor(11.0)
    one = [x.clone().requires_grad_() for x in (features, weight, scale)]
    other = [x.double().requires_grad_() for x in (features, weight, scale)]
    found = split_cosines(one[0], one[1], targets, one[2])
    expected = in_float64(other[0], other[1], targets, other[2])
    assert_all_close(found, expected, 1e-6)
    assert_all_close(gradients(summed(found), *one), gradients(summed(expected), *other), 2e-6)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9),
    st.integers(2, 12),
    st.integers(1, 10),
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(1, 64),
    st.integers(0, 2**16),
)
def test_features_and_class_vectors_of_any_length_agree_with_float64(rows, classes, dims, long, longer, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    features = 10**long * torch.randn(rows, dims, generator=generator)
    weight = 10**longer * torch.randn(classes, dims, generator=generator)
    targets = torch.randint(classes, (rows,), generator=generator)
    one = [x.clone().requires_grad_() for x in (features, weight, torch.tensor(scale))]
    other = [x.detach().double().requires_grad_() for x in one]
    found = split_cosines(one[0], one[1], targets, one[2])
    expected = in_float64(other[0], other[1], targets, other[2])
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part.double(), reference, atol=5e-7 * scale * classes, rtol=0)
    found, expected = gradients(summed(found), *one), gradients(summed(expected), *other)
    for part, reference, x in zip(found, expected, one, strict=True):
        # A gradient is as large as its vector is short.
        length = x.detach().double().norm(dim=1, keepdim=True) if x.ndim else 1.0
        error = ((part.double() - reference) * length).abs().max().item()
        assert error <= 2e-6 * max(scale, 10) * rows


def test_three_hand_computed_values_of_one_example():
    # Cosines 0.6, 0.8 and -1 at scale 5; the second is the target.
    features = torch.tensor([[3.0, 4.0]])
    weight = torch.tensor([[2.0, 0.0], [0.0, 7.0], [-0.3, -0.4]])
    cosine, log_sum, total = split_cosines(features, weight, torch.tensor([1]), 5.0)
    assert cosine.item() == pytest.approx(0.8, abs=1e-6)
    assert log_sum.item() == pytest.approx(math.log(math.exp(3.0) + math.exp(-5.0)), abs=1e-5)
    assert total.item() == pytest.approx(3.0 - 5.0, abs=1e-5)


@every_head
@pytest.mark.parametrize("length", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_aligned_and_zero_vectors_give_finite_values_and_gradients(kind, options, length, sign):
    head = make(kind, options, 50, 64)
    centers = getattr(head, "centers", 1)
    vectors = head.weight.detach()[::centers]
    features = (sign * length * F.normalize(vectors)).requires_grad_()
    targets = torch.arange(50)
    parts = head.target_split(features, targets)
    loss = (split_cross_entropy(parts) + 0.5 * split_flattening(parts)).mean()
    assert loss.isfinite()
    for gradient in gradients(loss, features, head.weight):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cosines_of_exactly_one_come_out_as_one_and_pull_no_vector_aside(sign):
    weight = torch.eye(4).requires_grad_()
    features = (sign * torch.eye(4)).requires_grad_()
    cosine, _, _ = split_cosines(features, weight, torch.arange(4), 16.0)
    assert cosine.tolist() == [sign] * 4
    for gradient in gradients(cosine.sum(), features, weight):
        assert gradient.abs().max() < 1e-6


def test_a_zero_feature_has_the_cosine_zero_to_every_class():
    weight = random(5, 8).requires_grad_()
    features = torch.zeros(2, 8, requires_grad=True)
    cosine, log_sum, total = split_cosines(features, weight, torch.tensor([0, 3]), 16.0)
    assert cosine.tolist() == total.tolist() == [0.0, 0.0]
    assert log_sum.tolist() == pytest.approx([math.log(4)] * 2)
    to_features, to_weight = gradients(summed((cosine, log_sum, total)), features, weight)
    assert to_features.isfinite().all()
    assert (to_weight == 0).all()


@pytest.mark.parametrize("length", [0.0, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("split", [True, False])
def test_the_gradient_of_a_short_feature_stays_below_ten_thousand_at_scale_16(length, split):
    head = CosineHead(8, 5, scale=16.0)
    with torch.no_grad():
        head.weight.copy_(torch.eye(8)[:5])
    features = (length * F.normalize(-torch.eye(8)[:1] + torch.eye(8)[1:2])).requires_grad_()
    target = torch.tensor([0])
    loss = (
        split_cross_entropy(head.target_split(features, target)) if split else F.cross_entropy(head(features), target)
    )
    loss.sum().backward()
    assert features.grad.norm() < 1e4


@pytest.mark.parametrize("length", [5.1e-3, 1e-2, 1.0])
def test_features_above_the_floor_have_exact_cosines(length):
    cosine, _, _ = split_cosines(length * torch.tensor([[3.0, 4.0]]) / 5, torch.eye(2), torch.tensor([1]), 16.0)
    assert cosine.item() == pytest.approx(0.8, abs=1e-6)
    assert unit(length * torch.tensor([0.6, 0.8])).tolist() == pytest.approx([0.6, 0.8], abs=1e-6)


def test_below_the_floor_the_cosine_falls_with_the_length():
    short = torch.tensor([[0.0, 0.5 * NORM_FLOOR]], requires_grad=True)
    cosine, _, _ = split_cosines(short, torch.eye(2), torch.tensor([1]), 16.0)
    assert cosine.item() == pytest.approx(0.5, abs=1e-6)
    (gradient,) = torch.autograd.grad(cosine.sum(), short)
    assert gradient[0].tolist() == pytest.approx([0, 1 / NORM_FLOOR], rel=1e-5)


@every_head
def test_every_further_backward_pass_gives_exactly_the_gradient_of_the_first(kind, options):
    features, targets = batch_of(33, 41, 16)
    head = make(kind, options, 41, 16)
    features.requires_grad_()
    parts = head.target_split(features, targets)
    loss = (split_cross_entropy(parts) + 0.5 * split_flattening(parts)).mean()
    first = gradients(loss, features, head.weight, retain_graph=True)
    for _ in range(2):
        for again, once in zip(gradients(loss, features, head.weight, retain_graph=True), first, strict=True):
            assert torch.equal(again, once)
    loss.backward(retain_graph=True)
    loss.backward()
    assert torch.equal(features.grad, 2 * first[0])


def test_one_backward_pass_a_loss_adds_up_to_that_of_their_sum():
    features, targets = batch_of(33, 41, 16)
    head = make(ArcFaceHead, {"margin_rad": 0.3, "scale": "learned"}, 41, 16)
    features.requires_grad_()
    everything = (features, *head.parameters())
    parts = head.target_split(features, targets)
    one, other = split_cross_entropy(parts).mean(), split_flattening(parts).mean()
    together = gradients(one + other, *everything, retain_graph=True)
    apart = zip(
        gradients(one, *everything, retain_graph=True), gradients(other, *everything, retain_graph=True), strict=True
    )
    assert_all_close([a + b for a, b in apart], together, 2e-6)


@every_head
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_values_and_gradients_are_those_without(kind, options, dtype):
    features, targets = batch_of(33, 41, 16)
    one, other = (features.to(dtype).requires_grad_() for _ in range(2))
    inside, outside = (make(kind, options, 41, 16) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = inside.target_split(one, targets)
        loss = summed(found)
    found_gradients = gradients(loss, one, inside.weight)
    expected = outside.target_split(other, targets)
    expected_gradients = gradients(summed(expected), other, outside.weight)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)
    for a, b in zip(found_gradients, expected_gradients, strict=True):
        assert torch.equal(a, b)


def test_a_backward_pass_inside_autocast_is_computed_in_float32_too():
    features, targets = batch_of(33, 41, 16)
    features.requires_grad_()
    head = make(ArcFaceHead, {}, 41, 16)
    expected = gradients(summed(head.target_split(features, targets)), features, head.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(summed(head.target_split(features, targets)), features, head.weight)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_features_and_vectors_are_computed_in_float32_and_get_half_gradients(dtype):
    features, targets = batch_of()
    weight = random(5, 8, seed=3)
    half = [x.to(dtype).requires_grad_() for x in (features, weight)]
    single = [x.detach().float().requires_grad_() for x in half]
    found = split_cosines(half[0], half[1], targets, 10.0)
    expected = split_cosines(single[0], single[1], targets, 10.0)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)
    for a, b in zip(gradients(summed(found), *half), gradients(summed(expected), *single), strict=True):
        assert a.dtype == dtype
        assert torch.equal(a, b.to(dtype))


@every_head
def test_without_gradients_the_values_are_the_same_and_nothing_is_kept(kind, options):
    features, targets = batch_of()
    with torch.no_grad():
        found = make(kind, options).target_split(features, targets)
    for a, b in zip(found, make(kind, options).target_split(features, targets), strict=True):
        assert not a.requires_grad
        assert torch.equal(a, b)


def test_only_what_needs_a_gradient_gets_one():
    features, targets = batch_of()
    weight = random(5, 8, seed=3)
    both = [x.clone().requires_grad_() for x in (features, weight)]
    expected = gradients(summed(split_cosines(*both, targets, 10.0)), *both)
    one, other = features.clone().requires_grad_(), weight.clone().requires_grad_()
    assert torch.equal(gradients(summed(split_cosines(one, weight, targets, 10.0)), one)[0], expected[0])
    assert torch.equal(gradients(summed(split_cosines(features, other, targets, 10.0)), other)[0], expected[1])


def test_the_kernel_leaves_features_vectors_and_targets_as_they_are():
    features, targets = batch_of()
    weight = random(5, 8, seed=3)
    before = [x.clone() for x in (features, weight, targets)]
    x, w = features.requires_grad_(), weight.requires_grad_()
    summed(split_cosines(x, w, targets, 10.0)).backward()
    for now, then in zip((features, weight, targets), before, strict=True):
        assert torch.equal(now.detach(), then)


@pytest.mark.parametrize("index", [5, -1])
def test_an_index_that_is_no_class_is_an_error(index):
    with pytest.raises(ValueError, match=f"between 0 and 4 for 5 classes, got {index}"):
        make(ArcFaceHead, {}).target_split(random(2, 8), torch.tensor([0, index]))


def second_derivative(loss, x):
    """As a gradient penalty beside another term has it."""
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (gradient.square().sum() + x.square().sum()).backward()


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_targets_than_of_features_is_an_error(count):
    features, targets = batch_of()
    head = make(ArcFaceHead, {})
    for call in (head, head.target_split, Objective(head, {"cross_entropy": 1.0})):
        with pytest.raises((ValueError, RuntimeError)):
            call(features, targets[:count])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_targets_of_any_integer_type_give_the_same_loss(dtype):
    features, targets = batch_of()
    losses = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    for head in (LinearHead(8, 5), make(ArcFaceHead, {})):
        objective = Objective(head, losses)
        assert objective(features, targets.to(dtype)).item() == objective(features, targets).item()


@every_head
@pytest.mark.parametrize("loss", [split_cross_entropy, split_flattening])
def test_a_second_derivative_is_that_of_the_composed_path(kind, options, loss):
    features, targets = batch_of()
    head = make(kind, options).eval()
    found = []
    for separated in (head.target_split, lambda x, y: composed_separation(head, x, y)):
        x = features.clone().requires_grad_()
        second_derivative(loss(separated(x, targets)).mean(), x)
        found.append((x.grad, head.weight.grad.clone()))
        head.zero_grad()
    assert found[0][0].abs().max() > 0.01
    assert_all_close(found[0], found[1], 1e-4)


def composed_separation(head, features, targets):
    return TargetSplit(*composed(head(features, targets), targets[:, None]))


def test_a_part_of_the_classes_leaves_absent_targets_out():
    features, targets = batch_of(9, 5, 8)
    targets[[0, 4, 5]] = -1
    absent = targets < 0
    one = [x.clone().requires_grad_() for x in (features, random(5, 8, seed=3), torch.tensor(9.0))]
    other = [x.detach().double().requires_grad_() for x in one]
    found = split_cosines(one[0], one[1], targets, one[2], partial=True)
    logits = other[2] * F.normalize(other[0]) @ F.normalize(other[1]).T
    at, log_sum, total = in_float64(other[0], other[1], targets.clamp(min=0), other[2])
    expected = (
        at.where(~absent, 0),
        torch.where(absent, logits.logsumexp(dim=1), log_sum),
        torch.where(absent, logits.sum(dim=1), total),
    )
    assert found[0][absent].tolist() == [0.0] * 3
    assert_all_close(found, expected, 1e-6)
    assert_all_close(gradients(summed(found), *one), gradients(summed(expected), *other), 2e-6)


def test_a_part_of_the_classes_with_every_target_present_is_the_whole():
    features, targets = batch_of()
    weight = random(5, 8, seed=3)
    whole = split_cosines(features, weight, targets, 9.0)
    for a, b in zip(split_cosines(features, weight, targets, 9.0, partial=True), whole, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@every_head
def test_on_a_gpu_values_and_gradients_are_those_of_the_cpu(kind, options):
    features, targets = batch_of(33, 41, 16)
    here, there = make(kind, options, 41, 16), make(kind, options, 41, 16).cuda()
    one, other = features.clone().requires_grad_(), features.cuda().requires_grad_()
    for _ in range(2):
        expected, found = here.target_split(one, targets), there.target_split(other, targets.cuda())
        assert_all_close([part.cpu() for part in found], expected, 5e-6)
        expected_gradients = gradients(summed(expected), one, here.weight, retain_graph=True)
        found_gradients = gradients(summed([part.cpu() for part in found]), other, there.weight, retain_graph=True)
        assert_all_close([g.cpu() for g in found_gradients], expected_gradients, 5e-5)


@pytest.mark.gpu
def test_on_a_gpu_autocast_changes_nothing():
    features, targets = (x.cuda() for x in batch_of(33, 41, 16))
    head = make(ArcFaceHead, {}, 41, 16).cuda()
    expected = head.target_split(features, targets)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype=dtype):
            found = head.target_split(features, targets)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


class Allocations(TorchDispatchMode):
    """Records the shapes of floating-point tensors in memory of their own; views and results in place are not."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        old = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            new = isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in old
            if new and tensor.is_floating_point():
                self.shapes.append(tuple(tensor.shape))
        return result

    def count(self, *shape):
        """Tensors of this many elements or more."""
        return sum(math.prod(found) >= math.prod(shape) for found in self.shapes)


def allocations(parts_of, features, head):
    """Of forward, and of backward after it."""
    with Allocations() as forward:
        parts = parts_of(features)
        loss = (split_cross_entropy(parts) + 0.5 * split_flattening(parts)).mean()
    with Allocations() as backward:
        torch.autograd.grad(loss, (features, head.weight))
    return forward, backward


@pytest.mark.parametrize(
    ("kind", "options"), [(k, o) for k, o in EVERY if k not in (SubCenterArcFaceHead, AdaCosHead, PartialFCHead)]
)
def test_forward_makes_one_buffer_of_logits_and_no_copy_of_the_class_vectors(kind, options, monkeypatch):
    monkeypatch.setattr(kernel, "CHUNK_BYTES", 1)
    rows, classes, dimensions = 24, 60, 40  # [B, D] < [B, K] < [K, D]
    features, targets = batch_of(rows, classes, dimensions)
    head = make(kind, options, classes, dimensions)
    features.requires_grad_()
    forward, backward = allocations(lambda x: head.target_split(x, targets), features, head)
    assert forward.count(rows, classes) == 1
    assert forward.shapes.count((rows, classes)) == 1
    assert (rows, classes) not in backward.shapes
    assert backward.count(classes, dimensions) == backward.count(rows, classes) == 1  # the gradient of the vectors
    composed, after = allocations(lambda x: split_target(head(x, targets), targets), features, head)
    assert composed.count(classes, dimensions) >= 1
    assert composed.count(rows, classes) >= 4
    assert after.count(rows, classes) >= 5


def test_class_vectors_without_gradient_cost_no_memory_of_their_size_at_all(monkeypatch):
    monkeypatch.setattr(kernel, "CHUNK_BYTES", 1)
    features, targets = batch_of(24, 60, 40)
    features.requires_grad_()
    weight = random(60, 40)
    with Allocations() as seen:
        cosine, log_sum, total = split_cosines(features, weight, targets, 16.0)
        (cosine + log_sum + total).sum().backward()
    assert seen.count(60, 40) == 0
    assert seen.count(24, 60) == 1


@pytest.mark.parametrize("fused", [True, False])
def test_a_compiled_objective_gives_loss_and_gradients_of_the_plain_one(fused):
    torch.compiler.reset()
    features, targets = batch_of()
    one, other = (features.clone().requires_grad_() for _ in range(2))
    head = make(ArcFaceHead, {"margin_rad": 0.3})
    losses = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    objective = Objective(head if fused else Plain(head), losses)
    compiled = torch.compile(objective, backend="aot_eager")
    found, expected = compiled(one, targets), objective(other, targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_all_close(gradients(found, one, head.weight), gradients(expected, other, head.weight), 2e-6)


@every_head
def test_the_objective_is_the_same_by_the_kernel_by_the_logits_and_by_hand(kind, options):
    features, targets = batch_of(33, 41, 16)
    losses = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    heads = [make(kind, options, 41, 16) for _ in range(3)]
    inputs = [features.clone().requires_grad_() for _ in range(3)]
    logits = heads[2](inputs[2], targets)
    is_target = F.one_hot(targets, 41).bool()
    wrong = logits[~is_target].view(33, 40)
    by_hand = F.cross_entropy(logits, targets) + 0.5 * -wrong.log_softmax(dim=1).mean()
    values = [
        Objective(heads[0], losses)(inputs[0], targets),
        Objective(Plain(heads[1]), losses)(inputs[1], targets),
        by_hand,
    ]
    assert [v.item() for v in values] == pytest.approx([by_hand.item()] * 3, rel=1e-6)
    found = [gradients(v, x, h.weight) for v, x, h in zip(values, inputs, heads, strict=True)]
    assert_all_close(found[0], found[2], 2e-5)
    assert_all_close(found[1], found[2], 2e-5)


@pytest.mark.parametrize(("kind", "options"), [(LinearHead, {}), *EVERY])
@pytest.mark.parametrize("losses", [{"cross_entropy": 1.0}, {"cross_entropy": 1.0, "complement_flattening": 0.5}])
def test_rows_that_do_not_count_are_as_if_left_out(kind, options, losses):
    features, targets = batch_of(9, 5, 8)
    targets[[1, 2, 7]] = -100
    kept = targets != -100
    for wrap in (lambda head: head, Plain):
        heads = [make(kind, options) for _ in range(2)]
        one, other = features.clone().requires_grad_(), features[kept].clone().requires_grad_()
        found = Objective(wrap(heads[0]), losses)(one, targets)
        expected = Objective(wrap(heads[1]), losses)(other, targets[kept])
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        to_features, to_weight = gradients(found, one, heads[0].weight)
        assert (to_features[~kept] == 0).all()
        assert_all_close([to_features[kept], to_weight], gradients(expected, other, heads[1].weight), 1e-5)


@pytest.mark.parametrize("kind", [LinearHead, CosineHead])
@pytest.mark.parametrize("losses", [{"cross_entropy": 1.0}, {"cross_entropy": 1.0, "complement_flattening": 0.5}])
def test_soft_targets_go_with_a_linear_and_a_cosine_head(kind, losses):
    features, targets = batch_of(6, 5, 8)
    mixed = 0.7 * F.one_hot(targets, 5).float() + 0.3 * F.one_hot((targets + 2) % 5, 5).float()
    head = make(kind, {})
    logits = head(features)
    expected = -(mixed * logits.log_softmax(dim=1)).sum(dim=1).mean()
    if len(losses) > 1:
        wrong = logits[mixed == 0].view(6, 3)
        expected = expected - 0.5 * wrong.log_softmax(dim=1).mean()
    assert Objective(head, losses)(features, mixed).item() == pytest.approx(expected.item(), rel=1e-6)
    hard = Objective(head, losses)(features, F.one_hot(targets, 5).float())
    assert hard.item() == pytest.approx(Objective(head, losses)(features, targets).item(), rel=1e-6)


@pytest.mark.parametrize(("kind", "options"), MARGINS)
def test_soft_targets_with_a_margin_head_are_an_error_that_says_what_goes(kind, options):
    head = make(kind, options)
    features, soft = random(6, 8), torch.full((6, 5), 0.2)
    message = rf"{kind.__name__} needs class indices \[B\], got float32 \[6, 5\]; soft targets .* a cosine head"
    for call in (Objective(head, {"cross_entropy": 1.0}), head, head.target_split):
        with pytest.raises(ValueError, match=message):
            call(features, soft)


@every_head
def test_losses_on_the_products_are_added_by_hand(kind, options):
    features, targets = batch_of(9, 5, 8)
    targets[2] = -100
    kept = targets != -100
    if kind is AdaCosHead:
        targets, kept = targets.clamp(min=0), torch.ones(9, dtype=torch.bool)
    head, other = make(kind, options), make(kind, options)
    objective = Objective(head, {"cross_entropy": 1.0}, linear_losses={"cross_entropy": 0.7, "label_smoothing": 0.2})
    products = features @ head.weight.T
    if kind is SubCenterArcFaceHead:
        products = products.view(9, 5, 3).amax(dim=2)
    angular = F.cross_entropy(other(features, targets.clamp(min=0))[kept], targets[kept])
    linear = F.cross_entropy(products, targets)
    smoothed = F.cross_entropy(products, targets, label_smoothing=0.1)
    terms = objective.terms(features, targets)
    assert list(terms) == ["cross_entropy", "linear/cross_entropy", "linear/label_smoothing"]
    expected = [angular.item(), linear.item(), smoothed.item()]
    assert [term.item() for term in terms.values()] == pytest.approx(expected, rel=1e-5)
    total = objective(features, targets).item()
    if kind is not AdaCosHead:  # whose scale has moved on
        assert total == pytest.approx((angular + 0.7 * linear + 0.2 * smoothed).item(), rel=1e-5)


def test_losses_on_the_products_need_a_head_that_has_them():
    with pytest.raises(ValueError, match="class vectors on the unit sphere"):
        Objective(LinearHead(8, 5), {"cross_entropy": 1.0}, linear_losses={"cross_entropy": 1.0})


@pytest.mark.parametrize("kind", [LinearHead, CosineHead, ArcFaceHead])
def test_the_neck_stands_before_the_head_in_loss_and_logits(kind):
    features, targets = batch_of(9, 5, 8)
    head, neck = make(kind, {}), Neck(8)
    objective = Objective(head, {"cross_entropy": 1.0, "complement_flattening": 0.5}, neck=neck)
    logits = head(copy.deepcopy(neck)(features), targets)
    expected = cross_entropy(logits, targets).mean() + 0.5 * complement_flattening(logits, targets).mean()
    assert objective(features, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    objective.eval()
    torch.testing.assert_close(objective.logits(features), head(neck(features)))
    assert not torch.allclose(objective.logits(features), head(features))
    objective(features, targets).backward()
    assert neck.linear.weight.grad.abs().max() > 0
    assert {"neck.linear.weight", "neck.norm.weight", "head.weight"} <= set(dict(objective.named_parameters()))


def test_losses_on_the_products_see_the_features_behind_the_neck():
    features, targets = batch_of(9, 5, 8)
    head, neck = make(ArcFaceHead, {}), Neck(8).eval()
    objective = Objective(head, {"cross_entropy": 1.0}, linear_losses={"cross_entropy": 1.0}, neck=neck)
    expected = F.cross_entropy(neck(features) @ head.weight.T, targets)
    assert objective.terms(features, targets)["linear/cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("wrap", [lambda head: head, Plain])
def test_two_forward_passes_and_one_backward_work_while_the_scale_adapts(wrap):
    features, targets = batch_of()
    features.requires_grad_()
    objective = Objective(wrap(make(AdaCosHead, {})), {"cross_entropy": 1.0})
    (objective(features, targets) + objective(features, targets)).backward()
    assert features.grad.isfinite().all()
