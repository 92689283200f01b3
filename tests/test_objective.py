"""The weighted sum of losses over a head, and its use as a drop-in part."""

import pytest
import torch
from torch import nn

from afield.errors import InputError
from afield.heads import ArcFaceHead, CosineHead, LinearHead
from afield.losses import LOSSES, complement_flattening, cross_entropy, label_smoothing
from afield.objective import Objective


@pytest.fixture
def batch():
    """Features of 6 examples in 8 dimensions, and targets among 4 classes."""
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 1, 0])


def test_the_loss_is_the_weighted_sum_of_the_means_on_the_heads_training_logits(batch):
    head = ArcFaceHead(8, 4, margin_rad=0.4)
    objective = Objective(head, {"cross_entropy": 1.5, "complement_flattening": 0.5})
    logits = head(*batch)
    expected = 1.5 * cross_entropy(logits, batch[1]).mean() + 0.5 * complement_flattening(logits, batch[1]).mean()
    found = objective(*batch)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_terms_are_the_losses_before_their_weights(batch):
    head = LinearHead(8, 4)
    terms = Objective(head, {"cross_entropy": 7.0, "complement_flattening": 0.0}).terms(*batch)
    assert list(terms) == ["cross_entropy", "complement_flattening"]
    assert terms["cross_entropy"].item() == pytest.approx(cross_entropy(head(batch[0]), batch[1]).mean().item())


@pytest.mark.parametrize("head", [LinearHead, ArcFaceHead])
def test_the_loss_of_each_example_comes_with_their_mean_and_without_gradient(batch, head):
    objective = Objective(head(8, 4), {"cross_entropy": 1.5, "complement_flattening": 0.5})
    loss, examples = objective.with_examples(*batch)
    assert torch.equal(loss, objective(*batch))
    alone = [objective(batch[0][i : i + 1], batch[1][i : i + 1]).item() for i in range(6)]
    assert examples.tolist() == pytest.approx(alone, rel=1e-5)
    assert (loss.requires_grad, examples.requires_grad) == (True, False)


def test_options_reach_the_loss_they_are_for(batch):
    head = LinearHead(8, 4)
    objective = Objective(head, {"label_smoothing": 1.0}, {"label_smoothing": {"smoothing": 0.4}})
    expected = label_smoothing(head(batch[0]), batch[1], smoothing=0.4).mean()
    assert objective(*batch).item() == pytest.approx(expected.item(), rel=1e-6)
    assert objective(*batch).item() != pytest.approx(Objective(head, {"label_smoothing": 1.0})(*batch).item())


def test_the_logits_to_predict_with_have_no_margin(batch):
    head = ArcFaceHead(8, 4, margin_rad=1.0)
    plain = CosineHead(8, 4)
    plain.load_state_dict(head.state_dict())
    logits = Objective(head, {"cross_entropy": 1.0}).logits(batch[0])
    assert torch.equal(logits, plain(batch[0]))
    assert not torch.equal(logits, head(*batch))


def test_an_unknown_loss_is_an_input_error_that_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown loss 'cross_entrpy'; did you mean 'cross_entropy'"):
        Objective(LinearHead(8, 4), {"cross_entrpy": 1.0})


def test_an_objective_without_losses_is_refused():
    with pytest.raises(ValueError, match="at least one loss"):
        Objective(LinearHead(8, 4), {})


def test_the_heads_parameters_are_the_objectives_parameters():
    objective = Objective(CosineHead(8, 4), {"cross_entropy": 1.0})
    assert {name: p.shape for name, p in objective.named_parameters()} == {"head.weight": (4, 8)}
    assert "1 cross_entropy" in repr(objective)


@pytest.mark.parametrize("head", [LinearHead, ArcFaceHead])
def test_dropped_into_a_plain_loop_it_trains_backbone_and_head(head):
    torch.manual_seed(0)
    centers = torch.randn(4, 8)
    targets = torch.arange(4).repeat(16)
    inputs = centers[targets] + 0.3 * torch.randn(64, 8)
    backbone = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    objective = Objective(head(16, 4), {"cross_entropy": 1.0, "complement_flattening": 0.5})
    optimizer = torch.optim.SGD([*backbone.parameters(), *objective.parameters()], lr=0.1, momentum=0.9)
    losses = []
    for _ in range(40):
        loss = objective(backbone(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    with torch.no_grad():
        assert (objective.logits(backbone(inputs)).argmax(1) == targets).float().mean() > 0.95


def test_options_of_a_loss_that_is_not_there_are_an_error():
    with pytest.raises(InputError, match="unknown loss in loss_options: 'label_smoothing'"):
        Objective(LinearHead(4, 3), {"cross_entropy": 1.0}, {"label_smoothing": {"smoothing": 0.2}})


def test_a_loss_brings_its_fast_path_and_its_check_of_the_head_with_its_registry_entry(batch, monkeypatch):
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    monkeypatch.setattr(LOSSES, "traits", dict(LOSSES.traits))
    classes = []
    LOSSES.add(
        "gap",
        lambda logits, targets: pytest.fail("the fast path is enough"),
        summary="How far the other logits lie above the target's.",
        reference="-",
        split=lambda logits: logits.mean - logits.target,
        check_classes=classes.append,
    )
    head = LinearHead(8, 4)
    terms = Objective(head, {"cross_entropy": 1.0, "gap": 1.0}).terms(*batch)
    logits, rows = head(batch[0]), torch.arange(6)
    target = logits[rows, batch[1]]
    expected = ((logits.sum(dim=1) - target) / 3 - target).mean()
    assert terms["gap"].item() == pytest.approx(expected.item(), abs=1e-6)
    assert classes == [4]


def test_an_objective_of_no_examples_is_refused():
    objective = Objective(LinearHead(4, 3), {"cross_entropy": 1.0})
    with pytest.raises(ValueError, match="an objective needs at least one example"):
        objective(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def test_linear_losses_see_the_products_without_margin(batch):
    head = ArcFaceHead(8, 4, margin_rad=0.4)
    objective = Objective(head, {"cross_entropy": 2.0}, linear_losses={"complement_flattening": 0.5})
    products = head.products(batch[0])
    expected = {
        "cross_entropy": cross_entropy(head(*batch), batch[1]).mean(),
        "linear/complement_flattening": complement_flattening(products, batch[1]).mean(),
    }
    terms = objective.terms(*batch)
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])
    first, second = expected.values()
    torch.testing.assert_close(objective(*batch), 2 * first + 0.5 * second)
    assert objective.extra_repr() == "2 cross_entropy + 0.5 linear/complement_flattening"
    with pytest.raises(ValueError, match="linear_losses need a head with class vectors on the unit sphere, got Linear"):
        Objective(LinearHead(8, 4), {"cross_entropy": 1.0}, linear_losses={"cross_entropy": 1.0})


def test_a_neck_comes_before_the_head_in_training_and_in_prediction(batch):
    head, neck = LinearHead(8, 4), nn.Linear(8, 8)
    objective = Objective(head, {"cross_entropy": 1.0}, neck=neck)
    logits = head(neck(batch[0]))
    torch.testing.assert_close(objective.logits(batch[0]), logits)
    torch.testing.assert_close(objective(*batch), cross_entropy(logits, batch[1]).mean())


@pytest.mark.parametrize("losses", [{"cross_entropy": 1.0}, {"cross_entropy": 1.0, "complement_flattening": 0.5}])
@pytest.mark.parametrize("head", [LinearHead, ArcFaceHead])
def test_ignored_rows_count_in_no_mean(batch, head, losses):
    objective, (features, targets) = Objective(head(8, 4), losses), batch
    kept = torch.tensor([True, True, False, True, False, True])
    ignored = targets.where(kept, -100)
    torch.testing.assert_close(objective(features, ignored), objective(features[kept], targets[kept]))
    groups = torch.tensor([0, 1, 0, 1, 1, 0])
    risks = objective.risks(features, ignored, groups, 2)
    expected = [objective(features[kept & (groups == g)], targets[kept & (groups == g)]) for g in range(2)]
    torch.testing.assert_close(risks, torch.stack(expected))


def test_class_weights_and_shifts_of_an_objective(batch):
    head, (features, targets) = LinearHead(8, 4), batch
    objective = Objective(head, {"cross_entropy": 1.0})
    assert list(objective.state_dict()) == ["head.weight", "head.bias"]
    assert (objective.progress, objective.weighted_from) == (1.0, 0.0)
    weight, counts = torch.tensor([1.0, 3.0, 0.5, 2.0]), torch.tensor([6, 3, 0, 1])
    objective.set_classes(counts, weight=weight, weighted_from=0.5, adjustment=0.25)
    values = cross_entropy(head(features), targets)
    objective.progress = 0.49
    torch.testing.assert_close(objective(features, targets), values.mean())
    objective.progress = 0.5
    torch.testing.assert_close(objective(features, targets), (weight[targets] * values).sum() / weight[targets].sum())
    shift = 0.25 * (counts.clamp(min=1) / 11).log()
    torch.testing.assert_close(objective.logits(features), head(features) - shift)
    assert set(objective.state_dict()) == {"head.weight", "head.bias", "prediction_shift"}
    objective.set_classes(counts)
    assert objective.prediction_shift is None
    torch.testing.assert_close(objective(features, targets), values.mean())


def test_class_weights_of_a_loss_are_its_own(batch):
    head, (features, targets) = LinearHead(8, 4), batch
    weight = torch.tensor([1.0, 3.0, 0.5, 2.0])
    options = {"cross_entropy": {"weight": weight.tolist(), "temperature": 2.0}}
    objective = Objective(head, {"cross_entropy": 1.0, "complement_flattening": 1.0}, options)
    values = cross_entropy(head(features), targets, temperature=2.0)
    terms = objective.terms(features, targets)
    torch.testing.assert_close(terms["cross_entropy"], (weight[targets] * values).sum() / weight[targets].sum())
    torch.testing.assert_close(terms["complement_flattening"], complement_flattening(head(features), targets).mean())
    assert list(objective.state_dict()) == ["head.weight", "head.bias"]
