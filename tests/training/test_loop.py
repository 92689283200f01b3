"""The training loop on features and images small enough to reason about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from afield.algorithms import ERM
from afield.augment import CutMix, Identity, Standard, build_chain
from afield.classifier import Classifier
from afield.heads import ArcFaceHead, LinearHead
from afield.objective import Objective
from afield.records import Epoch, seed_for
from afield.training import (
    DivergedError,
    Splits,
    Subset,
    TrainConfig,
    TrainState,
    checkpoint,
    fit,
    loop,
    prepared,
    resident,
)
from afield.training.batches import DRAWS

SETTINGS = TrainConfig(epochs=4, batch_size=16, learning_rate=0.05, dropout=0.3)


@pytest.fixture
def parts() -> Splits:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = (rng.normal(size=(120, 6)) + 2 * np.eye(3, 6)[labels]).astype(np.float32)
    order = rng.permutation(120)
    return Splits(
        train=Subset(features, labels, order[:80]),
        val=Subset(features, labels, order[80:100]),
        tests={"new": Subset(features, labels, order[100:])},
    )


def train(parts, folder, training=SETTINGS, augmentation=None, backbone=None, features=6, fabric=None):
    torch.manual_seed(0)
    objective = Objective(LinearHead(features, 3), {"cross_entropy": 1.0})
    classifier = Classifier(
        backbone or nn.Identity(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=training.dropout
    )
    progress = fit(
        ERM(classifier, parts.train.domain_sizes),
        parts,
        training,
        augmentation or Identity(),
        seed=1,
        label="test",
        checkpoint_file=folder / "checkpoint.safetensors",
        fabric=fabric or Fabric(accelerator="cpu", devices=1),
    )
    return classifier, progress


def test_it_learns_and_keeps_the_first_epoch_of_best_validation(parts, tmp_path):
    classifier, progress = train(parts, tmp_path)
    accuracies = [epoch.validation["accuracy"] for epoch in progress.epochs]
    assert progress.epochs[-1].train_loss < 0.7 * progress.epochs[0].train_loss
    assert accuracies[progress.best_epoch] == max(accuracies)
    assert accuracies.index(max(accuracies)) == progress.best_epoch
    classifier.load_state_dict(progress.best)
    ((inputs, labels),) = parts.tests["new"].batches([np.arange(20)])
    logits = classifier.eval().logits(inputs)
    assert torch.allclose(logits, progress.best_logits["test/new"], atol=1e-6)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert accuracy == pytest.approx(progress.epochs[progress.best_epoch].test["new"]["accuracy"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [1, 3, 8, 13])
def test_resumed_from_any_step_it_ends_bit_for_bit_the_same(parts, tmp_path, monkeypatch, optimizer, stop):
    training = dataclasses.replace(SETTINGS, optimizer=optimizer)
    whole, expected = train(parts, tmp_path / "whole", training)
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
        train(parts, tmp_path / "killed", training)
    monkeypatch.setattr(checkpoint, "save", save)
    resumed, progress = train(parts, tmp_path / "killed", training)
    assert progress.epochs == expected.epochs
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    for name, logits in expected.best_logits.items():
        assert torch.equal(logits, progress.best_logits[name])


@pytest.mark.parametrize("memory", [None, 3000], ids=["in memory", "in windows"])
@pytest.mark.parametrize("names", ["crop_flip+mixup", "resized_crop+color_jitter"])
def test_resumed_in_the_middle_of_images_it_draws_what_it_would_have_drawn(tmp_path, monkeypatch, memory, names):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3), dtype=np.uint8))
    images, labels = np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(120) % 3
    parts = Splits(*(Subset(images, labels, part, memory=memory) for part in (np.arange(100), np.arange(100, 120))), {})
    training = dataclasses.replace(SETTINGS, epochs=2, batch_size=8)

    def run(folder):
        return train(parts, tmp_path / folder, training, build_chain(names), Mean(), features=3)

    whole, expected = run("whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    saved = []

    def die(*arguments):
        save(*arguments)
        saved.append(arguments)
        if len(saved) in (3, 8, 15):
            raise KeyboardInterrupt

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", die)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    resumed, progress = run("killed")
    assert progress.epochs == expected.epochs
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_batches_made_in_the_background_are_those_made_one_by_one(photos_of_noise):
    """Whatever the number of threads; and the state of the generator is that after each batch's own draws."""
    source, generator = photos_of_noise.train, torch.Generator()
    augmentation = build_chain("resized_crop+color_jitter")
    positions = list(np.arange(32).reshape(8, 4))
    generator.manual_seed(0)
    expected = []
    for inputs, _ in source.batches(positions):
        images = augmentation.apply(inputs, augmentation.sample(inputs, generator)).float() / 255
        expected.append((images, generator.get_state()))
    for threads in (1, 3):
        generator.manual_seed(0)
        fabric = Fabric(accelerator="cpu", devices=1)
        found = prepared(source, positions, augmentation, generator, num_classes=3, fabric=fabric, threads=threads)
        for batch, (images, state) in zip(found, expected, strict=True):
            assert torch.equal(batch.inputs, images)
            assert torch.equal(batch.drawn, state)


def test_a_set_that_lies_on_a_device_gives_the_same_batches(photos_of_noise):
    source = photos_of_noise.train
    copy = dataclasses.replace(source, inputs=resident(source.inputs, torch.device("cpu"), chunk=7))
    assert isinstance(copy.inputs, torch.Tensor)
    assert copy.inputs.dtype == torch.uint8
    positions = [np.array([3, 1, 30]), np.array([0])]
    for (images, labels), (expected, targets) in zip(copy.batches(positions), source.batches(positions), strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, targets)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    rate = TrainConfig.learning_rate_at
    monkeypatch.setattr(
        TrainConfig, "learning_rate_at", lambda self, step, steps: 1e38 if step == 11 else rate(self, step, steps)
    )
    with pytest.raises(
        DivergedError, match=r"the loss of test became (nan|inf) in epoch 3.*the last good checkpoint is"
    ):
        train(parts, tmp_path)
    tensors, state = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert state["epoch"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point())


def test_images_reach_the_model_normalized_and_augmented_only_while_training(tmp_path):
    seen = []

    class Watch(nn.Module):
        def forward(self, images):
            seen.append((self.training, images.detach().clone()))
            return images.mean(dim=(2, 3))

    images = np.zeros((24, 8, 8, 3), dtype=np.uint8)
    images[:, 4:] = 255
    source = Subset(images, np.arange(24) % 3, np.arange(24))
    training = dataclasses.replace(SETTINGS, epochs=1, dropout=0.0)
    upside_left = Standard(scale=(1, 1), ratio=(1, 1), brightness=0.5)
    train(Splits(source, source, {}), tmp_path, training, upside_left, Watch(), features=3)
    for is_training, batch in seen:
        assert batch.shape[1:] == (3, 8, 8)
        assert torch.equal(batch[:, :, :4], torch.full_like(batch[:, :, :4], -1))
        assert torch.equal(batch[:, :, 4:], torch.ones_like(batch[:, :, 4:])) != is_training


class Mean(nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))


@pytest.fixture
def photos_of_noise():
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    source = Subset(images, np.arange(32) % 3, np.arange(32))
    return Splits(source, source, {})


def test_where_images_are_mixed_the_objective_is_given_soft_targets_in_training_only(photos_of_noise, tmp_path):
    seen = []

    class Watch(CutMix):
        def mix_targets(self, targets, params, num_classes):
            soft = super().mix_targets(targets, params, num_classes)
            seen.append((targets, params, soft))
            return soft

    training = dataclasses.replace(SETTINGS, epochs=2, dropout=0.0)
    train(photos_of_noise, tmp_path, training, Watch(), Mean(), features=3)
    assert len(seen) == 4
    for targets, params, soft in seen:
        assert soft.shape == (16, 3)
        torch.testing.assert_close(soft.sum(1), torch.ones(16))
        whole = params.share == 1
        assert torch.equal(soft[whole].argmax(1), targets[whole])


@pytest.mark.parametrize("names", ["trivialaugment", "crop_flip+randaugment+mixup", "augmix+cutout"])
def test_training_with_augmentation_is_decided_by_the_seed(photos_of_noise, tmp_path, names):
    training = dataclasses.replace(SETTINGS, epochs=2)
    first, second = (
        train(photos_of_noise, tmp_path / str(i), training, build_chain(names), Mean(), features=3)[1] for i in range(2)
    )
    assert [epoch.train_loss for epoch in first.epochs] == [epoch.train_loss for epoch in second.epochs]


def test_bf16_trains_and_predicts_in_float32(parts, tmp_path):
    classifier = Classifier(
        nn.Linear(6, 8),
        Objective(ArcFaceHead(8, 3), {"cross_entropy": 1.0, "complement_flattening": 0.5}),
        mean=(0,) * 3,
        std=(1,) * 3,
        dropout=0.0,
    )
    progress = fit(
        ERM(classifier, parts.train.domain_sizes),
        parts,
        dataclasses.replace(SETTINGS, precision="bf16"),
        Identity(),
        seed=0,
        label="bf16",
        checkpoint_file=tmp_path / "checkpoint.safetensors",
        fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"),
    )
    assert progress.epochs[-1].train_loss < progress.epochs[0].train_loss
    assert progress.logits["validation"].dtype == torch.float32


def by_hand(parts, training, clip):
    """A linear layer after one epoch of plain SGD with gradients clipped by hand, and the norms of the gradients."""
    torch.manual_seed(0)
    head = LinearHead(6, 3)
    weights, norms = [*head.parameters()], []
    rng = np.random.default_rng(seed_for("order", 1, 0))
    for rows in DRAWS["shuffled"](parts.train, training.batch_size, rng):
        seen = parts.train.indices[rows]
        inputs, targets = torch.from_numpy(parts.train.inputs[seen]), torch.from_numpy(parts.train.labels[seen])
        loss = nn.functional.cross_entropy(head(inputs), targets)
        gradients = torch.autograd.grad(loss, weights)
        norm = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
        norms.append(norm)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= training.learning_rate * gradient * min(1.0, clip / norm)
    return head, norms


def test_gradients_are_clipped_to_their_common_norm(parts, tmp_path):
    plain = TrainConfig(epochs=1, batch_size=16, learning_rate=0.05, momentum=0, weight_decay=0, schedule="constant")
    clipped = dataclasses.replace(plain, clip_grad=0.9)
    expected, norms = by_hand(parts, clipped, 0.9)
    assert min(norms) < 0.9 < max(norms)
    classifier, _ = train(parts, tmp_path / "clipped", clipped)
    for weight, by_longhand in zip(classifier.objective.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, by_longhand, atol=1e-5, rtol=1e-4)
    unclipped, _ = train(parts, tmp_path / "plain", plain)
    assert not torch.allclose(unclipped.objective.head.weight, expected.weight, atol=1e-4)


def test_training_stops_after_epochs_without_improvement(parts, tmp_path):
    _, every = train(parts, tmp_path / "whole", dataclasses.replace(SETTINGS, epochs=12))
    accuracies = [epoch.validation["accuracy"] for epoch in every.epochs]
    best = next(i for i in range(12) if max(accuracies[i + 1 : i + 4]) <= max(accuracies[: i + 1]) == accuracies[i])
    assert best + 4 < 12
    _, stopped = train(parts, tmp_path / "stopped", dataclasses.replace(SETTINGS, epochs=12, patience=3))
    assert stopped.best_epoch == best
    assert stopped.epochs == every.epochs[: best + 4]
    _, again = train(parts, tmp_path / "stopped", dataclasses.replace(SETTINGS, epochs=12, patience=3))
    assert again.epochs == stopped.epochs


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [([], 1, False), ([0.5], 1, False), ([0.5, 0.5], 1, True), ([0.5, 0.4, 0.6], 2, False),
     ([0.6, 0.4, 0.5], 2, True), ([0.6, 0.4, 0.5], 3, False), ([0.6, 0.4, 0.5], 0, False)],
)  # fmt: skip
def test_patience_counts_epochs_since_the_best(values, patience, stops):
    epochs = [Epoch(0.0, {"accuracy": value}, {}) for value in values]
    assert TrainState(epochs=epochs).stopped(patience) is stops


def test_fp16_scales_the_loss_unscales_before_clipping_and_resumes_with_its_scale(parts, tmp_path):
    """On a CPU, through the plug-in that Fabric uses on a GPU."""
    half = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", device="cpu"))
    scaler = half.strategy.precision.scaler
    settings = dataclasses.replace(SETTINGS, epochs=2, clip_grad=0.9, dropout=0)
    reference, _ = train(parts, tmp_path / "full", settings)
    classifier, first = train(parts, tmp_path / "half", settings, fabric=half)
    assert scaler.get_scale() == 65536
    assert scaler.state_dict()["_growth_tracker"] == 10
    for weight, full in zip(classifier.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(weight, full, atol=5e-3, rtol=0)
    saved = checkpoint.load(tmp_path / "half" / "checkpoint.safetensors")[1]["scale"]
    assert (saved["scale"], saved["_growth_tracker"]) == (65536, 10)
    scaler.update(2.0)
    _, second = train(parts, tmp_path / "again", settings, fabric=half)
    assert second.epochs == first.epochs
    scaler.update(2.0)
    train(parts, tmp_path / "half", settings, fabric=half)
    assert (scaler.get_scale(), scaler.state_dict()["_growth_tracker"]) == (65536, 10)
