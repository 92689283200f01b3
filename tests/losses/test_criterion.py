"""The modules against `nn.CrossEntropyLoss`, and against the functions they are made of."""

import copy
import doctest
import inspect
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import afield.losses.criterion
from afield.losses import (
    LDAM,
    LOSSES,
    BalancedSoftmax,
    ComplementEntropy,
    ComplementFlattening,
    ConfidencePenalty,
    Criterion,
    CrossEntropy,
    Focal,
    GuidedComplementEntropy,
    LabelSmoothing,
    LogitAdjustment,
    MaxEntropy,
    complement_flattening,
    cross_entropy,
)

ALONE = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "focal": Focal,
    "guided_complement_entropy": GuidedComplementEntropy,
    "logit_adjustment": LogitAdjustment,
    "balanced_softmax": BalancedSoftmax,
    "ldam": LDAM,
}
BESIDE = {
    "complement_flattening": (ComplementFlattening, 0.5),
    "complement_entropy": (ComplementEntropy, 1.0),
    "confidence_penalty": (ConfidencePenalty, 0.1),
    "max_entropy": (MaxEntropy, 0.1),
}
NAMED = [*ALONE.values(), *(criterion for criterion, _ in BESIDE.values())]
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25], dtype=torch.float64)
TARGETS = torch.tensor([0, 4, -100, 2, 1, 3])
reductions = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
weights = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])


def logits(seed=0, rows=6, scale=3.0):
    return scale * torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_every_loss_has_its_module():
    assert {*ALONE, *BESIDE} == set(LOSSES.names)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
    ignore_index=st.sampled_from([-100, -1, 3]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    smoothing=st.sampled_from([None, 0.0, 0.1, 1.0]),
    soft=st.booleans(),
)
def test_cross_entropy_and_label_smoothing_are_those_of_pytorch(
    seed, weighted, ignore_index, reduction, smoothing, soft
):
    z = logits(seed)
    generator = torch.Generator().manual_seed(seed)
    weight = WEIGHT if weighted else None
    if soft:
        targets = torch.rand(6, 5, dtype=torch.float64, generator=generator).softmax(dim=1)
        ignore_index = -100
    else:
        targets = torch.randint(5, (6,), generator=generator)
        targets[seed % 6] = ignore_index
    common = (weight, ignore_index, reduction)
    found = CrossEntropy(*common) if smoothing is None else LabelSmoothing(*common, smoothing=smoothing)
    expected = nn.CrossEntropyLoss(weight, None, ignore_index, None, reduction, smoothing or 0.0)
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    torch.testing.assert_close(found(ours, targets), expected(theirs, targets))
    found(ours, targets).sum().backward()
    expected(theirs, targets).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_where_every_row_is_ignored_the_mean_is_nan_and_the_sum_0_as_in_pytorch():
    targets = torch.full((6,), -100)
    for criterion in (CrossEntropy, nn.CrossEntropyLoss):
        assert math.isnan(criterion()(logits(), targets).item())
        assert criterion(reduction="sum")(logits(), targets).item() == 0


@pytest.mark.parametrize("name", ALONE)
@reductions
@weights
def test_a_loss_alone_is_its_function_reduced(name, reduction, weight):
    values = LOSSES[name](logits(), TARGETS, weight=weight)
    count = 5 if weight is None else 0.5 + 0.25 + 1.0 + 2.0 + 3.0
    expected = {"mean": values.sum() / count, "sum": values.sum(), "none": values}[reduction]
    torch.testing.assert_close(ALONE[name](weight, reduction=reduction)(logits(), TARGETS), expected)


@pytest.mark.parametrize("name", BESIDE)
@reductions
@weights
@pytest.mark.parametrize("strength", [None, 0.0, 2.0], ids=["default", "0", "2"])
def test_a_loss_beside_cross_entropy_is_cross_entropy_plus_strength_times_its_function(
    name, reduction, weight, strength
):
    criterion, default = BESIDE[name]
    options = {} if strength is None else {"strength": strength}
    values = cross_entropy(logits(), TARGETS, weight=weight)
    values = values + (default if strength is None else strength) * LOSSES[name](logits(), TARGETS, weight=weight)
    count = 5 if weight is None else 0.5 + 0.25 + 1.0 + 2.0 + 3.0
    expected = {"mean": values.sum() / count, "sum": values.sum(), "none": values}[reduction]
    torch.testing.assert_close(criterion(weight, reduction=reduction, **options)(logits(), TARGETS), expected)


def test_cross_entropy_plus_flattening_of_a_hand_computed_example():
    # Target probability 1/2, wrong logits 0 and log 3: log 2 + 0.5 * (log 16 - log 3) / 2.
    z, y = torch.tensor([[math.log(4), 0.0, math.log(3)]]), torch.tensor([0])
    expected = math.log(2) + 0.25 * math.log(16 / 3)
    assert ComplementFlattening()(z, y).item() == pytest.approx(expected, abs=1e-6)
    weighted = ComplementFlattening(torch.tensor([3.0, 1.0, 1.0]), reduction="sum")
    assert weighted(z, y).item() == pytest.approx(3 * expected, abs=1e-5)


@pytest.mark.parametrize("criterion", [CrossEntropy, Focal, *(criterion for criterion, _ in BESIDE.values())])
@weights
def test_the_mean_over_probabilities_is_over_the_batch(criterion, weight):
    soft = torch.zeros(6, 5, dtype=torch.float64)
    soft[:, 1], soft[:, 3] = 0.25, 0.75
    values = criterion(weight, reduction="none")(logits(), soft)
    assert values.shape == (6,)
    torch.testing.assert_close(criterion(weight)(logits(), soft), values.sum() / 6)


@pytest.mark.parametrize("criterion", NAMED)
def test_hyper_parameters_have_the_defaults_of_the_function_and_show_in_the_text(criterion):
    module = criterion()
    own = inspect.signature(criterion.loss).parameters.values()
    defaults = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY and p.name != "counts"}
    assert {**module.options, "weight": None, "ignore_index": -100} == defaults
    text = repr(module)
    assert text.startswith(f"{criterion.__name__}(ignore_index=-100, reduction='mean'")
    assert all(f"{name}={value!r}" in text for name, value in module.options.items())


def test_hyper_parameters_reach_the_function():
    z, y = logits(), TARGETS
    sharp = cross_entropy(z, y, temperature=0.5).sum() / 5
    torch.testing.assert_close(CrossEntropy(temperature=0.5)(z, y), sharp)
    torch.testing.assert_close(Focal(gamma=0.0)(z, y), nn.CrossEntropyLoss()(z, y))
    gap = MaxEntropy(strength=1.0, form="gap", reduction="sum")(z, y) - CrossEntropy(reduction="sum")(z, y)
    torch.testing.assert_close(gap, LOSSES["max_entropy"](z, y, form="gap").sum())
    assert repr(ComplementFlattening(strength=2.0)).endswith("reduction='mean', strength=2.0)")


def test_a_strength_that_changes_during_training_is_followed():
    criterion = ComplementFlattening()
    criterion.strength = 0.0
    torch.testing.assert_close(criterion(logits(), TARGETS), nn.CrossEntropyLoss()(logits(), TARGETS))
    alone = ComplementFlattening(strength=None, reduction="none")
    assert torch.equal(alone(logits(), TARGETS), complement_flattening(logits(), TARGETS))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Focal(reduction="average"), ValueError, "reduction must be .* got 'average'"),
        (lambda: Focal(gamma=-1.0), ValueError, r"gamma must be at least 0, got -1\.0"),
        (lambda: Focal(gama=1.0), TypeError, "Focal has no argument 'gama'; did you mean 'gamma'?"),
        (lambda: ComplementFlattening(strength=-1.0), ValueError, r"strength must be at least 0, got -1\.0"),
        (lambda: ComplementFlattening(strength=math.nan), ValueError, "strength must be at least 0, got nan"),
        (lambda: ComplementFlattening(weight=0.5), TypeError, "buffer 'weight'"),
        (lambda: MaxEntropy(sign="printed", form="gap"), ValueError, 'supports sign="corrected" only'),
    ],
)
def test_bad_settings_are_refused_when_the_module_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("criterion", NAMED)
def test_pixels_and_other_axes_are_refused(criterion):
    with pytest.raises(ValueError, match=r"needs logits \[B, K\] with K >= ., got \(2, 5, 4, 4\) of float32"):
        criterion()(torch.zeros(2, 5, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long))


@pytest.mark.parametrize("criterion", NAMED)
def test_class_weights_travel_with_the_module(criterion):
    module = criterion(WEIGHT.float())
    assert list(module.state_dict()) == ["weight"]
    assert module.double().weight.dtype == torch.float64
    other = criterion(torch.ones(5))
    other.load_state_dict(module.state_dict())
    assert other.weight.tolist() == WEIGHT.tolist()
    assert copy.deepcopy(module)(logits(), TARGETS).item() == module(logits(), TARGETS).item()
    assert list(criterion().state_dict()) == list(nn.CrossEntropyLoss().state_dict()) == []


@pytest.mark.parametrize("criterion", NAMED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_reduced_in_float32_and_rounded_once(criterion, dtype):
    # In float16 the sum over this batch would pass 65504.
    z = logits(rows=3000, scale=100.0).clamp(-300, 300).to(dtype)
    y = torch.arange(3000) % 5
    found = criterion(WEIGHT.to(dtype))(z, y)
    assert found.dtype == dtype
    assert found.isfinite()
    assert found.item() == criterion(WEIGHT.float())(z.float(), y).to(dtype).item()


def test_any_function_of_this_interface_becomes_a_module():
    def squared(logits, targets, *, power=2.0, weight=None, ignore_index=-100):
        """A made-up loss: the target logit to a power, for rows that are not ignored."""
        kept = targets != ignore_index
        return logits.gather(1, targets.where(kept, 0)[:, None])[:, 0] ** power * kept

    class Squared(Criterion, loss=squared, strength=2.0):
        pass

    class Deeper(Squared):
        pass

    z, y = torch.tensor([[3.0, 3.0], [5.0, 5.0]]), torch.tensor([0, -100])
    assert Squared(power=3.0)(z, y).item() == pytest.approx(math.log(2) + 2 * 27, abs=1e-5)
    assert Deeper(strength=None)(z, y).item() == 9


def test_the_example_in_the_docstring_holds():
    results = doctest.testmod(afield.losses.criterion)
    assert (results.attempted > 0, results.failed) == (True, 0)


@pytest.mark.parametrize("criterion", [BalancedSoftmax, LogitAdjustment, LDAM])
def test_counts_of_any_number_of_classes_are_kept(criterion):
    counts = torch.tensor([50.0, 1.0, 7.0, 20.0, 3.0], dtype=torch.float64)
    module = criterion(counts=counts)
    assert list(module.state_dict()) == ["counts"]
    values = criterion.loss(logits(), TARGETS, counts=counts)
    torch.testing.assert_close(module(logits(), TARGETS), values.sum() / 5)
    assert not torch.allclose(module(logits(), TARGETS), criterion()(logits(), TARGETS))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.0])
def test_a_temperature_divides_the_logits(temperature):
    expected = nn.CrossEntropyLoss()(logits() / temperature, TARGETS)
    torch.testing.assert_close(CrossEntropy(temperature=temperature)(logits(), TARGETS), expected)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.3)(logits() / temperature, TARGETS)
    torch.testing.assert_close(LabelSmoothing(smoothing=0.3, temperature=temperature)(logits(), TARGETS), smooth)
