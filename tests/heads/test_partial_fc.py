"""The head that samples its classes: against all classes, against the sampled ones by hand, and in training."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.algorithms import ERM
from afield.augment import Identity
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import CombinedMarginHead, PartialFCHead
from afield.objective import Objective
from afield.training import SparseSGD, Splits, Subset, TrainConfig, checkpoint, fit, loop

K, D, B = 40, 8, 6
MARGINS = [
    {"margin_rad": 0.0},
    {"margin_rad": 0.3, "margin_cos": 0.1},
    {"margin_multiplier": 1.3, "margin_rad": 0.2, "gradient": "exact"},
]
ALL_MARGINS = pytest.mark.parametrize("margins", MARGINS)
BOTH_LOSSES = {"cross_entropy": 1.0, "complement_flattening": 0.5}
SETTINGS = TrainConfig(epochs=4, batch_size=16, learning_rate=0.05, dropout=0.3)


@pytest.fixture
def batch():
    """Features of 6 examples in 8 dimensions, and targets among 40 classes, one of them twice."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(B, D, generator=generator), torch.tensor([0, 39, 7, 21, 7, 13])


def of_class_vectors(kind, weight, **options):
    head = kind(weight.shape[1], len(weight), **options)
    head.load_state_dict({"weight": weight}, strict=False)
    return head


def gradients(head, features, targets):
    """Features' and weight's gradient of a loss in which every separated number has its own part; and the numbers."""
    features = features.clone().requires_grad_()
    separated = head.target_split(features, targets)
    parts = torch.arange(1.0, 1 + 3 * len(targets)).view(3, -1)
    (torch.stack(separated) * parts).sum().backward()
    return features.grad, head.weight.grad, separated


@ALL_MARGINS
def test_with_a_share_of_one_it_is_the_combined_head_bit_for_bit(margins, batch):
    whole = CombinedMarginHead(D, K, **margins)
    head = of_class_vectors(PartialFCHead, whole.weight, share=1.0, **margins)
    features, weight, values = gradients(head, *batch)
    expected_features, expected_weight, expected_values = gradients(whole, *batch)
    for value, expected in zip(values, expected_values, strict=True):
        assert torch.equal(value, expected)
    assert torch.equal(features, expected_features)
    assert torch.equal(weight.to_dense(), expected_weight)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.33, 0.5, 1.0])
def test_the_sample_holds_all_targets_sorted_once_each_and_is_of_the_right_size(share, batch):
    head = PartialFCHead(D, K, share=share)
    for _ in range(20):
        classes = head.sample(batch[1])
        assert set(batch[1].tolist()) <= set(classes.tolist())
        assert (classes.diff() > 0).all()
        assert classes[0] >= 0
        assert classes[-1] < K
        assert len(classes) == max(round(share * K), 5)


def test_more_targets_than_the_share_are_all_in_the_sample_and_nothing_else():
    head = PartialFCHead(D, K, share=0.1)
    targets = torch.arange(0, K, 3)
    assert head.sample(targets).tolist() == targets.tolist()


@pytest.mark.parametrize("target", [0, 1])
def test_the_smallest_sample_has_the_target_and_one_other_class(target):
    head = PartialFCHead(D, 2, share=0.01)
    assert head.sample(torch.tensor([target])).tolist() == [0, 1]
    assert len(PartialFCHead(D, K, share=0.01).sample(torch.tensor([target]))) == 2


def test_the_others_vary_with_the_global_generator_and_repeat_with_its_seed(batch):
    head = PartialFCHead(D, K, share=0.3)
    torch.manual_seed(5)
    first, second = head.sample(batch[1]), head.sample(batch[1])
    torch.manual_seed(5)
    again = head.sample(batch[1])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_every_other_class_is_sampled_at_the_rate_that_the_share_leaves():
    head = PartialFCHead(D, K, share=0.25)
    targets, draws = torch.tensor([3, 17, 30]), 2000
    torch.manual_seed(0)
    counts = torch.bincount(torch.cat([head.sample(targets) for _ in range(draws)]), minlength=K)
    assert (counts[targets] == draws).all()
    others = torch.ones(K, dtype=torch.bool).index_fill_(0, targets, False)
    rate = (10 - 3) / (K - 3)
    spread = math.sqrt(rate * (1 - rate) / draws)
    assert (counts[others] / draws - rate).abs().max() < 4.5 * spread


@ALL_MARGINS
def test_values_and_gradients_are_those_of_a_head_of_the_sampled_classes_alone(margins, batch):
    features, targets = batch
    head = PartialFCHead(D, K, share=0.3, scale=12.0, **margins)
    torch.manual_seed(9)
    classes = head.sample(targets)
    small = of_class_vectors(CombinedMarginHead, head.weight[classes], scale=12.0, **margins)
    indices = torch.tensor([classes.tolist().index(target) for target in targets.tolist()])
    expected_features, expected_weight, expected_values = gradients(small, features, indices)
    torch.manual_seed(9)
    found_features, found_weight, values = gradients(head, features, targets)
    for value, expected in zip(values, expected_values, strict=True):
        torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found_features, expected_features)
    assert found_weight.is_sparse
    assert torch.equal(found_weight.coalesce().indices()[0], classes)
    torch.testing.assert_close(found_weight.coalesce().values(), expected_weight)


def test_the_separated_numbers_by_hand(batch):
    features, targets = batch
    head = PartialFCHead(D, K, share=0.3, scale=10.0, margin_rad=0.0, margin_cos=0.2)
    torch.manual_seed(2)
    classes = head.sample(targets).tolist()
    torch.manual_seed(2)
    target_logit, log_sum, mean = head.target_split(features, targets)
    for i, (feature, target) in enumerate(zip(features, targets.tolist(), strict=True)):
        cosine = {j: torch.cosine_similarity(feature, head.weight[j], dim=0).item() for j in classes}
        others = [10 * cosine[j] for j in classes if j != target]
        assert target_logit[i].item() == pytest.approx(10 * (cosine[target] - 0.2), abs=1e-4)
        assert log_sum[i].item() == pytest.approx(math.log(sum(map(math.exp, others))), abs=1e-4)
        assert mean[i].item() == pytest.approx(sum(others) / len(others), abs=1e-4)


def test_a_step_leaves_unsampled_rows_of_weight_and_momentum_alone_bit_for_bit(batch):
    objective = Objective(PartialFCHead(D, K, share=0.3), BOTH_LOSSES)
    head = objective.head
    optimizer = SparseSGD(objective.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    seen = torch.zeros(K, dtype=torch.bool)
    for step in range(5):
        weight = head.weight.detach().clone()
        momentum = optimizer.state[head.weight]["momentum_buffer"].clone() if step else torch.zeros(K, D)
        torch.manual_seed(step)
        sampled = torch.zeros(K, dtype=torch.bool).index_fill_(0, head.sample(batch[1]), True)
        torch.manual_seed(step)
        objective(*batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert torch.equal(head.weight[~sampled], weight[~sampled])
        assert torch.equal(optimizer.state[head.weight]["momentum_buffer"][~sampled], momentum[~sampled])
        assert (head.weight[sampled] != weight[sampled]).any(dim=1).all()
        seen |= sampled
    assert 12 < seen.sum() < K


def test_in_evaluation_and_without_targets_all_classes_count(batch):
    whole = CombinedMarginHead(D, K)
    head = of_class_vectors(PartialFCHead, whole.weight, share=0.1)
    assert torch.equal(head(batch[0]), whole(batch[0]))
    assert head(batch[0]).shape == (B, K)
    whole.eval()
    head.eval()
    state = torch.get_rng_state()
    for value, expected in zip(head.target_split(*batch), whole.target_split(*batch), strict=True):
        assert torch.equal(value, expected)
    assert torch.equal(head(*batch), whole(*batch))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_learned_scale_gets_the_gradient_of_the_sampled_classes(batch):
    features, targets = batch
    head = PartialFCHead(D, K, share=0.3, scale="learned")

    def loss_at(log_scale):
        with torch.no_grad():
            head.log_scale.copy_(log_scale)
        torch.manual_seed(4)
        return Objective(head, BOTH_LOSSES)(features, targets)

    start = head.log_scale.detach().clone()
    loss_at(start).backward()
    found, step = head.log_scale.grad.item(), 1e-2
    expected = (loss_at(start + step) - loss_at(start - step)).item() / (2 * step)
    assert found == pytest.approx(expected, rel=1e-2)
    assert abs(found) > 1e-3


def test_a_row_that_does_not_count_changes_no_gradient_and_may_be_anything(batch):
    features, targets = batch
    head = PartialFCHead(D, K, share=1.0)
    objective = Objective(head, BOTH_LOSSES)
    expected = objective(features[1:], targets[1:])
    found = objective(features, targets.index_fill(0, torch.tensor([0]), -100))
    torch.testing.assert_close(found, expected)
    expected_gradient, gradient = (torch.autograd.grad(loss, head.weight)[0].to_dense() for loss in (expected, found))
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("target", [-1, K, -K])
def test_a_target_that_is_no_class_is_an_error(target, batch):
    head = PartialFCHead(D, K, share=0.3)
    with pytest.raises(ValueError, match=f"class indices must lie between 0 and {K - 1} for {K} classes, got {target}"):
        head.target_split(batch[0][:1], torch.tensor([target]))


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan])
def test_a_bad_share_is_an_error_that_names_it(share):
    with pytest.raises(ValueError, match=rf"share must lie in \(0, 1\], got {share!r}"):
        PartialFCHead(D, K, share=share)


def test_an_adaptive_scale_is_an_error():
    with pytest.raises(ValueError, match="adaptive"):
        PartialFCHead(D, K, scale="adaptive")


def test_under_autocast_the_numbers_are_those_of_float32(batch):
    head = PartialFCHead(D, K, share=0.3)
    torch.manual_seed(1)
    expected = head.target_split(*batch)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head.target_split(*batch)
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        assert torch.equal(value, other)


def test_the_margin_warms_up_over_sampled_steps(batch):
    head = PartialFCHead(D, K, share=0.3, scale=10.0, margin_rad=0.0, margin_cos=0.4, margin_warmup=2)
    plain = head(batch[0]).gather(1, batch[1][:, None]).squeeze(1)
    for share in (0.0, 0.5, 1.0, 1.0):
        target, _, _ = head.target_split(*batch)
        torch.testing.assert_close(target, plain - 10 * share * 0.4, atol=1e-5, rtol=0)


def test_the_printed_head_says_share():
    assert repr(PartialFCHead(8, 10, share=0.25, scale=16)).endswith("gradient='straight_through', share=0.25)")


def many_classes(classes=200, features=16, each=6):
    """Points around one direction a class: features, class indices."""
    generator = torch.Generator().manual_seed(8)
    centers = torch.randn(classes, features, generator=generator)
    labels = torch.arange(classes).repeat_interleave(each)
    return centers[labels] + 0.25 * torch.randn(len(labels), features, generator=generator), labels


@pytest.mark.parametrize("optimizer", ["rowwise", "sparse_adam"])
def test_it_learns_200_classes_from_a_fifth_of_them_a_step(optimizer):
    features, labels = many_classes()
    torch.manual_seed(0)
    objective = Objective(PartialFCHead(16, 200, share=0.2), BOTH_LOSSES)
    parameters = list(objective.parameters())
    stepper = {
        "rowwise": lambda: SparseSGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4),
        "sparse_adam": lambda: torch.optim.SparseAdam(parameters, lr=0.01),
    }[optimizer]()
    assert (objective.logits(features).argmax(dim=1) == labels).float().mean() < 0.05
    for _ in range(15):
        for rows in torch.randperm(len(labels)).split(32):
            objective(features[rows], labels[rows]).backward()
            stepper.step()
            stepper.zero_grad()
    accuracy = (objective.eval().logits(features).argmax(dim=1) == labels).float().mean()
    assert accuracy > 0.95


def test_sparse_adam_changes_the_sampled_rows_alone(batch):
    head = PartialFCHead(D, K, share=0.3)
    before = head.weight.detach().clone()
    torch.manual_seed(6)
    sampled = head.sample(batch[1])
    torch.manual_seed(6)
    Objective(head, BOTH_LOSSES)(*batch).backward()
    torch.optim.SparseAdam(head.parameters(), lr=0.1).step()
    changed = (head.weight != before).any(dim=1).nonzero().squeeze(1)
    assert torch.equal(changed, sampled)


@pytest.fixture
def parts() -> Splits:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 12
    features = (rng.normal(size=(120, 6)) + 2 * rng.normal(size=(12, 6))[labels]).astype(np.float32)
    order = rng.permutation(120)
    return Splits(
        train=Subset(features, labels, order[:80]),
        val=Subset(features, labels, order[80:100]),
        tests={"new": Subset(features, labels, order[100:])},
    )


def train(parts, folder, training=SETTINGS):
    torch.manual_seed(0)
    objective = Objective(PartialFCHead(6, 12, share=0.5), BOTH_LOSSES)
    classifier = Classifier(nn.Linear(6, 6), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=training.dropout)
    progress = fit(
        ERM(classifier, parts.train.domain_sizes),
        parts,
        training,
        Identity(),
        seed=1,
        label="test",
        checkpoint_file=folder / "checkpoint.safetensors",
        fabric=Fabric(accelerator="cpu", devices=1),
    )
    return classifier, progress


@pytest.mark.parametrize("stop", [1, 3, 8, 13])
def test_a_run_resumed_from_any_step_ends_bit_for_bit_the_same(parts, tmp_path, monkeypatch, stop):
    whole, expected = train(parts, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    saved = []

    def die(path, tensors, state):
        save(path, tensors, state)
        saved.append(state)
        if len(saved) == stop:
            raise KeyboardInterrupt

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(KeyboardInterrupt):
        train(parts, tmp_path / "killed")
    monkeypatch.setattr(checkpoint, "save", save)
    torch.manual_seed(77)
    resumed, progress = train(parts, tmp_path / "killed")
    assert progress.epochs == expected.epochs
    assert expected.epochs[-1].train_loss < expected.epochs[0].train_loss
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    for name, logits in expected.best_logits.items():
        assert torch.equal(logits, progress.best_logits[name])


def test_adamw_in_the_loop_is_an_error_that_names_sgd(parts, tmp_path):
    with pytest.raises(InputError, match=r"--optimizer adamw does not support .*; use sgd"):
        train(parts, tmp_path, dataclasses.replace(SETTINGS, optimizer="adamw"))


def test_compare_takes_a_recipe_with_it_and_refuses_adamw_in_one_line(afield, tmp_path):
    (tmp_path / "sampled.toml").write_text('head = "partial_fc"\nhead_options = {share = 0.3}\n')
    out = tmp_path / "out"
    arguments = ("compare", "--recipes", tmp_path / "sampled.toml", "--epochs", 1, "--seeds", 1, "--image-size", 16)
    code, _, err = afield(*arguments, "--optimizer", "adamw", "--out", out)
    assert code == 2
    assert [line for line in err.splitlines() if "use sgd" in line], err
    assert "Traceback" not in err
    code, _, err = afield(*arguments, "--out", tmp_path / "out-sgd")
    assert code == 0, err
    records = [json.loads(line) for line in (tmp_path / "out-sgd" / "records.jsonl").read_text().splitlines()]
    assert len(records) == 4
    assert all(record["config"]["recipe"]["head"] == "partial_fc" for record in records)
    assert all(np.isfinite(epoch["train_loss"]) for record in records for epoch in record["epochs"])
