"""Fast training of small images: whitened patches, fast biases, alternating flips, lookahead, views at test time."""

from __future__ import annotations

import copy
import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

import afield as package
from afield.algorithms import EMA, ERM, Lookahead
from afield.augment import AlternatingFlip, Translate, Visit, build_chain, in_words, sample_at
from afield.augment.flips import coins
from afield.classifier import Classifier
from afield.data import Validation, load
from afield.deploy.tta import mean_logits, views
from afield.heads import LinearHead
from afield.models import BackboneConfig, WhitenedVGG, patch_covariance, whitening_filters
from afield.objective import Objective
from afield.recipes.recipe import RECIPES
from afield.records import read_json
from afield.runs.config import ExperimentConfig, choose_training, keep_class
from afield.runs.run import Run, prepare
from afield.training import PRESETS, SparseSGD, Subset, TrainConfig, prepared
from afield.training.optimizer import build_optimizer


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def images(digits) -> torch.Tensor:
    """Some digits, normalized as in training."""
    return torch.from_numpy(digits.images[:300]).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch_of_bytes(count: int = 6, side: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


# The network


def test_whitened_patches_of_real_images_have_the_identity_as_covariance(images):
    """Variance v / (v + epsilon) along each eigenvector: 1 where patches differ at all."""
    filters = whitening_filters(images, 2)
    assert filters.shape == (24, 3, 2, 2)
    found = F.conv2d(images.double(), filters[:12].double()).permute(1, 0, 2, 3).flatten(1)
    covariance = found @ found.T / found.shape[1]
    variances = torch.linalg.eigvalsh(patch_covariance(images, 2)).flip(0)
    torch.testing.assert_close(covariance, torch.diag(variances / (variances + 5e-4)), atol=1e-4, rtol=0)
    exact = F.conv2d(images.double(), whitening_filters(images, 2, epsilon=0.0)[:12].double())
    exact = exact.permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(exact @ exact.T / exact.shape[1], torch.eye(12).double(), atol=2e-3, rtol=0)
    assert torch.equal(filters[12:], -filters[:12])


def test_the_covariance_of_patches_by_hand():
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    first, second = torch.tensor([1.0, 2.0, 4.0, 5.0]), torch.tensor([2.0, 3.0, 5.0, 6.0])
    expected = (first[:, None] * first + second[:, None] * second) / 2
    torch.testing.assert_close(patch_covariance(image, 2), expected.double())


def test_convolutions_begin_by_passing_their_input_through(images):
    torch.manual_seed(0)
    stage = WhitenedVGG((32, 64, 128)).stages[0]
    x = torch.randn(2, 24, 7, 7)
    found = stage.conv1(x)
    assert found.shape == (2, 32, 7, 7)
    torch.testing.assert_close(found[:, :24], x)
    assert not torch.allclose(found[:, 24:], x[:, :8])
    torch.testing.assert_close(stage.conv2(found), found)


def test_the_network_trains_neither_its_filters_nor_the_scales_of_batch_normalization():
    model = WhitenedVGG()
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert "whiten.bias" in trained
    assert not any(name == "whiten.weight" or ("norm" in name and name.endswith("weight")) for name in trained)
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert sum(trained.values()) == 24 + convolutions + 2 * (64 + 256 + 256)


def setup_of(data, backbone: BackboneConfig) -> ExperimentConfig:
    return ExperimentConfig(
        data, backbone, False, Validation(), choose_training("fast_cifar", epochs=1, augment="translate")
    )


def test_a_run_shows_training_images_to_the_backbone_and_the_seed_decides_which(digits, tmp_path):
    setup, fabric = setup_of(digits, BackboneConfig("whitened_vgg_narrow")), Fabric(accelerator="cpu", devices=1)
    first, again, other = (
        prepare(Run(setup, RECIPES["fast_cifar"], ("wall",), seed), None, fabric) for seed in (0, 0, 1)
    )
    filters = [found[2].backbone.whiten.weight for found in (first, again, other)]
    assert torch.equal(filters[0], filters[1])
    assert not torch.equal(filters[0], filters[2])
    parts = first[1]
    seen = parts.train.take(np.arange(len(parts.train)))[0] * 2 - 1
    found = F.conv2d(seen, filters[0][:12]).permute(1, 0, 2, 3).flatten(1)
    variances = (found.square().mean(1)).double()
    expected = torch.linalg.eigvalsh(patch_covariance(seen, 2)).flip(0)
    torch.testing.assert_close(variances, expected / (expected + 5e-4), atol=1e-3, rtol=0)
    weights = tmp_path / "weights.pth"
    torch.save(other[2].backbone.state_dict(), weights)
    given = setup_of(digits, BackboneConfig("whitened_vgg_narrow", weights=str(weights)))
    _, _, kept = prepare(Run(given, RECIPES["fast_cifar"], ("wall",), 0), None, fabric)
    assert torch.equal(kept.backbone.whiten.weight, filters[2])


# The optimizer


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh())
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    return Classifier(backbone, objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_biases_of_normalization_have_a_rate_of_their_own_and_shrink_as_fast(optimizer):
    classifier = small_classifier()
    training = TrainConfig(optimizer=optimizer, learning_rate=0.5, norm_bias_rate=64.0, weight_decay=0.064)
    rest, biases = build_optimizer(ERM(classifier, [12]), training).param_groups
    assert [p is classifier.backbone[1].bias for p in biases["params"]] == [True]
    assert len(rest["params"]) == 5
    assert (rest["rate"], biases["rate"]) == (1.0, 64.0)
    assert (rest["weight_decay"], biases["weight_decay"]) == (0.064, 0.001)
    (plain,) = build_optimizer(ERM(classifier, [12]), TrainConfig(optimizer=optimizer)).param_groups
    assert len(plain["params"]) == 6


@pytest.mark.parametrize("sparse", [False, True])
def test_nesterov_longhand(sparse):
    """v = m v + g, w = w - r (g + m v), with g the gradient plus the decay."""
    weight = nn.Parameter(torch.tensor([[2.0], [-1.0]]))
    optimizer = SparseSGD([weight], 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    expected, velocity = weight.detach().clone(), torch.zeros(2, 1)
    for step in range(3):
        gradient = torch.tensor([[1.0 + step], [0.5]])
        weight.grad = gradient.to_sparse(1) if sparse else gradient.clone()
        optimizer.step()
        total = gradient + 0.01 * expected
        velocity = 0.9 * velocity + total
        expected = expected - 0.1 * (total + 0.9 * velocity)
        torch.testing.assert_close(weight.detach(), expected)


def test_the_linear_schedule_rises_to_the_peak_and_falls_to_nothing():
    training = TrainConfig(learning_rate=1.0, schedule="linear", warmup=0.2)
    rates = [training.learning_rate_at(step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


# Averages of weights


def stepped(averaging, steps: int) -> list[torch.Tensor]:
    """Add 1 to the head's bias at every step; the bias that predicts after each."""
    found = []
    for done in range(1, steps + 1):
        averaging.classifier.objective.head.bias.data += 1
        averaging.end_step(done, steps, lambda: 0.0)
        found.append(averaging.predictor().objective.head.bias.detach().clone())
    return found


def test_lookahead_longhand():
    averaging = Lookahead(ERM(small_classifier(), [12]), every=2, keep=0.9)
    fast = slow = averaging.classifier.objective.head.bias.detach().clone()
    for done, found in enumerate(stepped(averaging, 6), start=1):
        fast = fast + 1
        if done % 2 == 0:
            kept = 0.9**2 * (done / 6) ** 3
            slow = fast = kept * slow + (1 - kept) * fast
        torch.testing.assert_close(found, slow)
    torch.testing.assert_close(averaging.classifier.objective.head.bias.detach(), fast)


def test_ema_longhand():
    averaging = EMA(ERM(small_classifier(), [12]), decay=0.3)
    fast = average = averaging.classifier.objective.head.bias.detach().clone()
    for done, found in enumerate(stepped(averaging, 6), start=1):
        fast = fast + 1
        kept = min(0.3, (1 + done) / (10 + done))
        average = kept * average + (1 - kept) * fast
        torch.testing.assert_close(found, average)
    torch.testing.assert_close(averaging.classifier.objective.head.bias.detach(), fast)


@pytest.mark.parametrize(
    ("kind", "options"), [(Lookahead, {"every": 0}), (Lookahead, {"keep": 1.0}), (EMA, {"decay": 1.0})]
)
def test_averagings_refuse_what_has_no_meaning(kind, options):
    with pytest.raises(ValueError, match="must"):
        kind(ERM(small_classifier(), [12]), **options)


# Augmentations


def test_two_epochs_of_alternating_flips_show_each_image_both_ways():
    flips, generator, places = AlternatingFlip(), torch.Generator(), torch.arange(4000)
    images = torch.empty(4000, 3, 1, 1)
    first, second, third = (flips.sample_at(images, generator, Visit(places, epoch, 5)).flip for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 0.47 < first.double().mean() < 0.53  # four standard deviations
    assert 0.47 < (first[1:] == first[:-1]).double().mean() < 0.53
    other = flips.sample_at(images, generator, Visit(places, 0, 6)).flip
    assert 0.47 < (first == other).double().mean() < 0.53
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))[:50]
    assert torch.equal(coins(order, 5), first[order])


def test_a_chain_tells_its_parts_which_images_they_see():
    images, generator = batch_of_bytes(), torch.Generator().manual_seed(1)
    visit = Visit(torch.arange(6), 0, 3)
    shifts, flips = sample_at(build_chain("translate+alternating_flip"), images, generator, visit)
    assert torch.equal(flips.flip, coins(visit.indices, 3))
    alone = Translate().sample(images, torch.Generator().manual_seed(1))
    assert torch.equal(shifts.down, alone.down)
    chain = build_chain("translate+alternating_flip")
    assert chain.takes_bytes
    expected = AlternatingFlip().apply(Translate().apply(images, shifts), flips)
    assert torch.equal(chain.apply(images, (shifts, flips)), expected)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_shift_is_a_crop_of_the_reflected_image(kind):
    images = batch_of_bytes(40)
    params = Translate(3).sample(images, torch.Generator().manual_seed(0))
    assert set(params.down.tolist()) == set(params.right.tolist()) == set(range(-3, 4))
    padded = F.pad(images.double(), (3,) * 4, mode="reflect")
    found = Translate(3).apply(images.to(kind), params)
    assert found.dtype == kind
    for row, (down, right) in enumerate(zip(params.down.tolist(), params.right.tolist(), strict=True)):
        expected = padded[row, :, 3 - down : 12 - down, 3 - right : 12 - right]
        assert torch.equal(found[row].double(), expected)


def test_draws_in_words():
    images = batch_of_bytes()
    params = Translate().sample(images, torch.Generator().manual_seed(0))
    place = int((params.down != 0).nonzero()[0])
    assert in_words(params, place, (9, 9)) == f"shift {params.right[place]}, {params.down[place]} px"
    flips = AlternatingFlip().sample_at(images, torch.Generator(), Visit(torch.arange(6), 0, 0))
    assert [in_words(flips, i, (9, 9)) == "mirrored" for i in range(6)] == flips.flip.tolist()


def test_training_batches_are_mirrored_by_place_and_epoch():
    """Whatever the order of the epoch: each image of the source comes both ways within two epochs."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 9, 9, 3), dtype=np.uint8)
    source = Subset(pixels, np.arange(24) % 3, np.arange(23, -1, -1))
    plain = source.take(np.arange(24))[0]
    mirrored = []
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(24)
        batches = prepared(
            source,
            list(order.reshape(4, 6)),
            AlternatingFlip(),
            torch.Generator(),
            num_classes=3,
            fabric=Fabric(accelerator="cpu", devices=1),
            epoch=epoch,
            seed=9,
        )
        found = torch.cat([batch.inputs for batch in batches])[np.argsort(order)]
        mirrored.append([torch.equal(a, b.flip(-1)) for a, b in zip(found, plain, strict=True)])
    assert mirrored[0] == coins(torch.arange(24), 9).tolist()
    assert mirrored[1] == [not flip for flip in mirrored[0]]


def test_classes_that_a_mirror_would_change_are_not_mirrored(digits):
    assert keep_class(PRESETS["fast_cifar"], digits).augment == "translate+none"
    assert keep_class(PRESETS["flattening_paper"], digits).augment == "crop"
    assert keep_class(PRESETS["fast_cifar"], dataclasses.replace(digits, flippable=True)).augment.endswith("flip")


# Views at test time


def test_logits_with_views_are_the_weighted_mean_of_those_of_each_view():
    images = batch_of_bytes().permute(0, 2, 3, 1).numpy()
    torch.manual_seed(0)
    weight = torch.randn(9 * 9 * 3, 4, dtype=torch.float64)

    def logits(pixels):
        return torch.from_numpy(np.ascontiguousarray(pixels)).flatten(1).double() @ weight

    both = (logits(images) + logits(images[:, :, ::-1])) / 2
    torch.testing.assert_close(mean_logits(logits, images, "mirror"), both)
    padded = F.pad(torch.from_numpy(images).permute(0, 3, 1, 2).double(), (1,) * 4, mode="reflect")
    shifted = [padded[:, :, :9, :9], padded[:, :, 2:, 2:]]
    moved = sum(logits(view.permute(0, 2, 3, 1).numpy()) for s in shifted for view in (s, s.flip(-1))) / 4
    torch.testing.assert_close(mean_logits(logits, images, "mirror_translate"), (both + moved) / 2)
    assert sum(weight for weight, _ in views(images, "mirror_translate")) == 1


# All together

SMALL = ("--preset", "fast_cifar", "--recipe", "fast_cifar", "--backbone", "whitened_vgg_narrow", "--batch-size", 32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the digits, mirrored ones too."""
    out = tmp_path_factory.mktemp("fast") / "digits"
    package.train(
        data="digits",
        preset="fast_cifar",
        recipe="fast_cifar",
        backbone="whitened_vgg_narrow",
        batch_size=32,
        learning_rate=0.3,
        epochs=3,
        augment="translate+alternating_flip",
        out=out,
    )
    return out


def test_a_few_epochs_learn_the_digits_and_the_model_comes_back_with_its_filters(trained, digits):
    record = read_json(trained / "record.json")
    assert record["config"]["training"]["norm_bias_rate"] == 64
    assert record["epochs"][-1]["validation"]["accuracy"] > 0.6
    model = package.load(trained)
    filters = model.classifier.backbone.whiten.weight
    assert torch.equal(filters[12:], -filters[:12])
    accuracy = (model.logits(digits.images).argmax(1).numpy() == digits.labels).mean()
    assert accuracy > 0.6


def test_evaluate_reports_views_apart(afield: Callable[..., tuple[int, str, str]], trained, digits):
    plain = json.loads(afield("evaluate", trained, "--data", "digits", "--json")[1])
    found = json.loads(afield("evaluate", trained, "--data", "digits", "--json", "--tta", "mirror_translate")[1])
    tta = found.pop("tta")
    assert found == plain
    assert tta["kind"] == "mirror_translate"
    logits = mean_logits(package.load(trained).logits, digits.images, "mirror_translate")
    assert tta["all"]["accuracy"] == pytest.approx((logits.argmax(1).numpy() == digits.labels).mean())
    assert tta["domains"].keys() == plain["domains"].keys()
    code, out, _ = afield("evaluate", trained, "--data", "digits", "--tta", "mirror")
    assert code == 0
    assert "accuracy, tta mirror, %" in " ".join(out.split())


def test_killed_in_the_middle_it_ends_bit_for_bit_the_same(trained, tmp_path):
    """The process is killed with a checkpoint in the middle of an epoch, and the same command goes on from it."""
    out = tmp_path / "killed"
    arguments = [*map(str, SMALL), "--learning-rate", "0.3", "--epochs", "3", "--augment", "translate+alternating_flip"]
    code = (
        "from afield.training import loop; loop.CHECKPOINT_SECONDS = 0.0\n"
        "from afield.cli import main; import sys; main(['train', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", code, *arguments, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / "checkpoint.safetensors").exists()
    assert not (out / "done").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert read_json(out / "record.json")["epochs"] == read_json(trained / "record.json")["epochs"]
    first, second = (package.load(folder).classifier.state_dict() for folder in (trained, out))
    assert all(torch.equal(first[name], copy.copy(second[name])) for name in first)
