"""The batch seen as target and others: against sums written out by hand, composed PyTorch and float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch.autograd import gradcheck

from afield.losses import ComplementFlattening, complement_flattening
from afield.losses.cross_entropy import split_cross_entropy
from afield.losses.flattening import split_flattening
from afield.target_split import TargetSplit, split_target

TARGETS = torch.tensor([0, 4, 2, 2, 1, 3])
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])


def logits_of(rows=6, classes=5, scale=3.0, seed=0):
    return scale * torch.randn(rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def longhand(row, y):
    """The target's logit, and logsumexp and mean of the others."""
    others = [v for j, v in enumerate(row) if j != y]
    largest = max(others)
    log_sum = largest + math.log(math.fsum(math.exp(v - largest) for v in others))
    return row[y], log_sum, math.fsum(others) / len(others)


def composed(logits, targets):
    is_target = F.one_hot(targets, logits.shape[1]).bool()
    log_sum = logits.masked_fill(is_target, -torch.inf).logsumexp(dim=1)
    mean = logits.masked_fill(is_target, 0).sum(dim=1) / (logits.shape[1] - 1)
    return logits[is_target], log_sum, mean


def both_losses(logits, targets):
    """Cross-entropy and half of flattening, one value an example."""
    parts = split_target(logits, targets)
    return split_cross_entropy(parts) + 0.5 * split_flattening(parts)


def gradient_of(logits, targets):
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(both_losses(z, targets).sum(), z)[0]


@st.composite
def batches(draw):
    """Logits ``[1, K]`` whose wrong ones spread over 8 or less, a target, and a gap of up to 120 either way."""
    classes = draw(st.integers(2, 9))
    spread = draw(st.sampled_from([2**-7, 1.0, 8.0]))
    value = st.floats(-spread, spread, allow_nan=False, width=32)
    row = draw(st.lists(value, min_size=classes, max_size=classes))
    y = draw(st.integers(0, classes - 1))
    gap = draw(st.one_of(st.floats(-120, 120), st.floats(-6, 6), st.sampled_from([-120.0, 0.0, 120.0])))
    row[y] = max(v for j, v in enumerate(row) if j != y) + gap
    return torch.tensor([row]), torch.tensor([y])


@settings(deadline=None, max_examples=60)
@given(batches())
def test_target_logsumexp_and_mean_of_the_others_are_those_of_longhand(batch):
    logits, targets = batch
    found = split_target(logits.double(), targets)
    expected = longhand(logits[0].double().tolist(), int(targets))
    assert [v.item() for v in found] == pytest.approx(expected, rel=1e-14, abs=1e-13)
    assert all(v.dtype == torch.float64 and v.shape == (1,) for v in found)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (6, 5), (40, 17), (3, 4099)])
def test_values_and_gradients_are_those_of_composed_torch_in_float64(rows, classes):
    targets = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(1))
    one, other = (logits_of(rows, classes).requires_grad_() for _ in range(2))
    factors = logits_of(3, rows, seed=2)
    found, expected = split_target(one, targets), composed(other, targets)
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part, reference, atol=1e-12, rtol=1e-13)
    sum((f * part).sum() for f, part in zip(factors, found, strict=True)).backward()
    sum((f * part).sum() for f, part in zip(factors, expected, strict=True)).backward()
    torch.testing.assert_close(one.grad, other.grad, atol=1e-12, rtol=1e-12)


def test_each_of_the_three_passes_gradcheck():
    z = logits_of().requires_grad_()
    for name in ("target", "log_sum", "mean"):
        assert gradcheck(lambda x, name=name: getattr(split_target(x, TARGETS), name), (z,))
    assert gradcheck(lambda x: both_losses(x, TARGETS), (z,))


@every_dtype
@pytest.mark.parametrize("gap", [120.0, -120.0])
@pytest.mark.parametrize("flat", [True, False])
def test_both_losses_and_their_gradient_are_those_of_longhand_at_a_gap_of_120(dtype, gap, flat):
    row = [gap, 0.0, 0.0, 0.0] if flat else [0.5 + gap, 0.5, -1.0, 0.25]
    z = torch.tensor([row], dtype=dtype)
    row = z[0].tolist()
    target, log_sum, mean = longhand(row, 0)
    difference = log_sum - target
    cross_entropy = difference if gap < 0 else math.exp(difference)
    loss = both_losses(z, torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(cross_entropy + 0.5 * (log_sum - mean), rel=1e-6)
    gradient = gradient_of(z, torch.tensor([0]))
    assert gradient.dtype == dtype
    p = 1.0 if gap < 0 else 0.0  # of the wrong classes together, to 50 decimals
    q = [math.exp(v - log_sum) for v in row[1:]]
    expected = [-p, *(p * v + 0.5 * (v - 1 / 3) for v in q)]
    assert gradient[0].tolist() == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps, abs=1e-7)


@settings(deadline=None, max_examples=300)
@given(batches())
def test_the_float32_gradient_is_that_of_float64_to_5e_7_of_the_rows_largest(batch):
    logits, targets = batch
    reference = gradient_of(logits.double(), targets)
    error = (gradient_of(logits, targets).double() - reference).abs().max().item()
    # Where the wrong logits are all but equal, half of flattening's gradient is a difference of two larger terms, of
    # which this is the one: q - 1/(K-1).
    assert error <= 5e-7 * max(reference.abs().max().item(), 0.5 / (logits.shape[1] - 1))


@every_dtype
def test_half_precision_is_computed_in_float32(dtype):
    z = logits_of().to(dtype)
    for found, expected in zip(split_target(z, TARGETS), split_target(z.float(), TARGETS), strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert torch.equal(gradient_of(z, TARGETS), gradient_of(z.float(), TARGETS).to(dtype))


def test_two_classes_leave_one_other_whose_logit_is_both_logsumexp_and_mean():
    z = torch.tensor([[3.0, -1.0], [0.5, 90.0]])
    parts = split_target(z, torch.tensor([0, 1]))
    assert parts.target.tolist() == [3.0, 90.0]
    assert parts.log_sum.tolist() == parts.mean.tolist() == [-1.0, 0.5]
    assert split_flattening(parts).tolist() == [0.0, 0.0]
    gradient = gradient_of(z, torch.tensor([0, 1]))
    p = 1 / (1 + math.exp(4.0))
    assert gradient[0].tolist() == pytest.approx([-p, p], abs=6e-8)


@pytest.mark.parametrize("index", [5, -1, -100])
def test_an_index_that_is_no_class_is_an_error(index):
    with pytest.raises(ValueError, match=f"between 0 and 4 for 5 classes, got {index}"):
        split_target(torch.zeros(2, 5), torch.tensor([0, index]))


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_targets_than_rows_are_an_error(count):
    with pytest.raises((ValueError, RuntimeError)):
        split_target(torch.zeros(6, 5), TARGETS[:count])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_logits_stay_as_they_are(dtype):
    z = logits_of().to(dtype)
    before = z.clone()
    gradient_of(z, TARGETS)
    z.requires_grad_()
    both_losses(z, TARGETS).sum().backward()
    assert torch.equal(z, before)


def test_logits_that_are_transposed_or_expanded_in_memory_give_the_same():
    z = logits_of(40, 40).float()
    targets = torch.arange(40)
    for view in (z.t().contiguous().t(), torch.cat([z, z], dim=1)[:, 40:]):
        assert not view.is_contiguous()
        for found, expected in zip(split_target(view, targets), split_target(z, targets), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gradient_of(view, targets), gradient_of(z, targets), atol=1e-7, rtol=1e-6)
    wide = split_target(z[:, :1].expand(40, 40), targets)
    torch.testing.assert_close(wide.log_sum, z[:, 0] + math.log(39), atol=1e-5, rtol=0)
    torch.testing.assert_close(wide.mean, z[:, 0], atol=1e-5, rtol=0)


def test_another_backward_pass_adds_the_same_gradient_again():
    z = logits_of().requires_grad_()
    loss = both_losses(z, TARGETS).sum()
    loss.backward(retain_graph=True)
    once = z.grad.clone()
    loss.backward(retain_graph=True)
    assert torch.equal(z.grad, 2 * once)
    z.grad = None
    loss.backward()
    assert torch.equal(z.grad, once)


def second_derivative(loss, x):
    """As a gradient penalty beside another term has it."""
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (gradient.square().sum() + x.square().sum()).backward()


def test_a_second_derivative_is_right_beside_another_term():
    found = []
    for one in (split_target, lambda z, y: TargetSplit(*composed(z, y))):
        z = logits_of().requires_grad_()
        parts = one(z, TARGETS)
        second_derivative((F.softplus(parts.log_sum - parts.target) + 0.5 * (parts.log_sum - parts.mean)).sum(), z)
        found.append(z.grad)
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=1e-12)


def test_second_derivatives_pass_gradgradcheck():
    z = logits_of().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: split_target(x, TARGETS), (z,))


def test_masked_classes_are_as_if_absent_in_values_gradients_and_second_derivatives():
    z = logits_of()
    mask = torch.zeros(6, 5, dtype=torch.bool)
    mask[0, [1, 3]] = mask[2, 0] = mask[5, 4] = True
    masked = z.masked_fill(mask, -torch.inf)
    split = torch.stack(split_target(masked, TARGETS), dim=1)
    for row, target, found in zip(masked.tolist(), TARGETS.tolist(), split.tolist(), strict=True):
        kept = [value for value in row if value != -math.inf]
        assert found == pytest.approx(longhand(kept, kept.index(row[target])), rel=1e-14)

    def loss(x):
        return both_losses(x.masked_fill(mask, -torch.inf), TARGETS)

    assert gradcheck(loss, (z.requires_grad_(),))
    assert torch.autograd.gradgradcheck(loss, (z,))


def test_where_all_other_classes_are_masked_cross_entropy_and_flattening_are_zero():
    z = torch.tensor([[2.0, -math.inf, -math.inf], [0.0, 0.0, -math.inf]], requires_grad=True)
    values = both_losses(z, torch.tensor([0, 1]))
    assert values.tolist() == pytest.approx([0.0, math.log(2)], abs=1e-7)
    values.sum().backward()
    assert z.grad.tolist() == [[0.0, 0.0, 0.0], [0.5, -0.5, 0.0]]


def test_the_criterion_is_cross_entropy_plus_half_of_flattening_by_hand():
    z = logits_of()
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25], dtype=torch.float64)
    flattening = complement_flattening(z, TARGETS)
    plain = F.cross_entropy(z, TARGETS) + 0.5 * flattening.mean()
    assert ComplementFlattening()(z, TARGETS).item() == pytest.approx(plain.item(), rel=1e-14)
    by_class = weight[TARGETS]
    weighted = F.cross_entropy(z, TARGETS, weight) + 0.5 * (by_class * flattening).sum() / by_class.sum()
    assert ComplementFlattening(weight)(z, TARGETS).item() == pytest.approx(weighted.item(), rel=1e-14)
    ones = [longhand(row, y) for row, y in zip(z.tolist(), TARGETS.tolist(), strict=True)]
    by_hand = [math.log1p(math.exp(s - t)) + 0.5 * (s - m) for t, s, m in ones]
    found = ComplementFlattening(weight, reduction="none")(z, TARGETS).tolist()
    assert found == pytest.approx([w * v for w, v in zip(by_class.tolist(), by_hand, strict=True)], rel=1e-13)


@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_the_criterion_leaves_ignored_rows_out_of_value_and_gradient(ignore_index, weighted, strength):
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25], dtype=torch.float64) if weighted else None
    targets = TARGETS.masked_fill(TARGETS == 2, ignore_index)
    kept = targets != ignore_index
    one, other = (logits_of().requires_grad_() for _ in range(2))
    found = ComplementFlattening(weight, ignore_index, strength=strength)(one, targets)
    by_class = torch.ones(4, dtype=torch.float64) if weight is None else weight[targets[kept]]
    flattening = complement_flattening(other[kept], targets[kept])
    expected = F.cross_entropy(other[kept], targets[kept], weight)
    expected = expected + strength * (by_class * flattening).sum() / by_class.sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-14)
    found.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad, atol=1e-15, rtol=1e-12)
    assert (one.grad[~kept] == 0).all()
