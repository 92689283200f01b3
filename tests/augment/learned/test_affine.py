"""The game between augmentor, classifier, teacher and discriminator, and how its failures are told."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.augment import AffineAugmentor, AffineBounds, AugmentorConfig, identity_distance
from afield.augment.learned import AffineGame, AffineSettings, learn_affine, loop as learning, measure, read_settings
from afield.augment.learned.discriminator import adversarial_loss, discriminator_loss
from afield.cli import main
from afield.errors import InputError
from afield.evaluation import diagnose
from afield.records import read_json
from afield.training import Subset
from tests.killed import command

POINT = AugmentorConfig(draw="point")
ALONE = AffineSettings(augmentor=AugmentorConfig(), recognized=None, refresh=False, epoch_steps=1)


class Corners(nn.Module):
    """A classifier of four classes: which corner of the image is brightest, surer the larger the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(8.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B, 3, H, W]`` -> logits ``[B, 4]``."""
        return self.sharpness * nn.functional.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 2).flatten(1)


@pytest.fixture
def source() -> Subset:
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 4
    images = rng.integers(0, 60, size=(96, 12, 12, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        top, left = 6 * (label // 2), 6 * (label % 2)
        images[i, top : top + 6, left : left + 6] += 180
    return Subset(images, labels.astype(np.int64), np.arange(96))


def batch(source: Subset) -> tuple[torch.Tensor, torch.Tensor]:
    return source.take(np.arange(len(source)))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def play(settings: AffineSettings, source: Subset, steps: int = 60) -> tuple[AffineGame, dict[str, float]]:
    torch.manual_seed(0)
    game, draws = AffineGame(settings, Corners()), generator()
    for _ in range(steps):
        game.step(*batch(source), draws)
    return game, measure(game, [batch(source)], generator(1))


def learn(source: Subset, settings: AffineSettings, file: Path, **options):
    fabric = Fabric(accelerator="cpu", devices=1)
    return learn_affine(
        Corners(), source, {"validation": source}, settings, seed=3, checkpoint_file=file, fabric=fabric, **options
    )


def test_the_corrected_sign_raises_the_entropy_and_the_printed_one_does_not(source):
    settings = dataclasses.replace(ALONE, augmentor=POINT, learning_rate=1e-2)
    _, corrected = play(settings, source)
    _, printed = play(dataclasses.replace(settings, sign="printed"), source)
    assert corrected["entropy_after"] > corrected["entropy_before"] + 0.2
    assert printed["entropy_after"] <= printed["entropy_before"] + 0.01
    assert corrected["entropy_before"] == pytest.approx(printed["entropy_before"])


def test_the_teacher_keeps_the_class_where_entropy_alone_destroys_it(source):
    """Corners that trade places are as uncertain as any: only a teacher notices."""
    wide = AugmentorConfig(bounds=AffineBounds(90.0, 1.3, 0.2, 0.4))
    alone = dataclasses.replace(ALONE, augmentor=wide, learning_rate=3e-3)
    _, destroyed = play(alone, source, steps=120)
    game, kept = play(dataclasses.replace(alone, recognized=0.9), source, steps=120)
    assert destroyed["recognized_before"] == 1.0
    assert destroyed["recognized_after"] < 0.5
    assert kept["entropy_after"] > kept["entropy_before"] + 0.5
    assert kept["recognized_after"] > 0.8
    assert game.multiplier > 1
    assert "destroyed" in diagnose(destroyed, dataclasses.asdict(alone))
    assert diagnose(kept, dataclasses.asdict(alone)) == {}


def test_the_multiplier_falls_while_all_are_recognized_and_stays_where_it_is_fixed(source):
    settings = dataclasses.replace(ALONE, recognized=0.5, entropy_weight=0.0, spread_weight=0.0)
    game, _ = play(settings, source, steps=4)
    assert float(game.multiplier) == pytest.approx(math.exp(-4 * 0.5 * 0.5), rel=1e-5)
    fixed, _ = play(dataclasses.replace(settings, recognition_weight=0.3), source, steps=4)
    assert float(fixed.multiplier) == pytest.approx(0.3)


def test_the_reward_for_spread_widens_what_is_drawn(source):
    quiet = dataclasses.replace(ALONE, entropy_weight=0.0, learning_rate=1e-2)
    _, without = play(dataclasses.replace(quiet, spread_weight=0.0), source)
    _, with_reward = play(dataclasses.replace(quiet, spread_weight=0.1), source)
    assert with_reward["draw_spread"] > 2 * without["draw_spread"]


def test_a_target_entropy_is_reached_and_not_passed(source):
    settings = dataclasses.replace(
        ALONE, augmentor=POINT, target_entropy=0.6, entropy_weight=5.0, learning_rate=1e-2, form="gap"
    )
    _, found = play(settings, source, steps=150)
    assert found["entropy_after"] == pytest.approx(0.6 * 2, abs=0.1)


def test_a_frozen_classifier_stays_as_it_is_and_a_refreshed_one_learns(source):
    frozen, _ = play(ALONE, source, steps=3)
    refreshed, _ = play(dataclasses.replace(ALONE, recognized=0.9, refresh=True), source, steps=3)
    assert float(frozen.classifier.sharpness) == 8.0
    assert frozen.teacher is frozen.classifier
    assert float(refreshed.classifier.sharpness.detach()) != 8.0
    # The teacher is its moving average, three steps behind.
    assert 8.0 < float(refreshed.teacher.sharpness) < float(refreshed.classifier.sharpness.detach())


def test_the_given_classifier_is_never_changed(source, tmp_path):
    classifier = Corners()
    settings = dataclasses.replace(ALONE, recognized=0.9, refresh=True, epochs=1)
    fabric = Fabric(accelerator="cpu", devices=1)
    learn_affine(classifier, source, {}, settings, seed=0, checkpoint_file=tmp_path / "c", fabric=fabric)
    assert float(classifier.sharpness.detach()) == 8.0
    assert classifier.sharpness.requires_grad


def test_adversarial_losses_in_longhand():
    fake = torch.tensor([0.0, 2.0], dtype=torch.float64)
    probability = 1 / (1 + torch.exp(-fake))
    torch.testing.assert_close(adversarial_loss(fake, "saturating"), (1 - probability).log().mean())
    torch.testing.assert_close(adversarial_loss(fake, "non_saturating"), -probability.log().mean())
    mean = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(1), nn.Flatten(0))
    real, warped = torch.full((2, 3, 2, 2), 1.0), torch.full((2, 3, 2, 2), -1.0)
    expected = -2 * math.log(1 / (1 + math.exp(-1)))
    assert float(discriminator_loss(mean, real, warped)) == pytest.approx(expected, rel=1e-6)


def test_a_discriminator_tells_what_is_plainly_transformed(source):
    zeros = AugmentorConfig(draw="distribution", bounds=AffineBounds(0.0, 1.0, 0.0, 1.0), padding="zeros")
    settings = dataclasses.replace(
        ALONE, augmentor=zeros, discriminator="non_saturating", discriminator_rate=0.3, learning_rate=1e-12
    )
    torch.manual_seed(0)
    game = AffineGame(settings, Corners())
    with torch.no_grad():
        game.network.out.bias[:6] = 2.0  # far to one side
    before = measure(game, [batch(source)], generator())
    for _ in range(60):
        game.step(*batch(source), generator())
    after = measure(game, [batch(source)], generator())
    assert after["discriminator_loss"] < before["discriminator_loss"] - 0.3
    assert after["discriminator_accuracy"] > 0.9


def test_measures_of_the_identity(source):
    settings = dataclasses.replace(ALONE, augmentor=POINT)
    game = AffineGame(settings, Corners())
    found = measure(game, [batch(source)], generator())
    assert found["distance"] == found["image_spread"] == found["draw_spread"] == found["at_bound"] == 0.0
    assert found["entropy_after"] == pytest.approx(found["entropy_before"], abs=1e-5)
    assert found["recognized_after"] == found["recognized_before"] == 1.0
    p = Corners()(batch(source)[0]).detach().softmax(dim=1)
    assert found["entropy_before"] == pytest.approx(float(-(p * p.log2()).sum(dim=1).mean()), rel=1e-5)


def test_measures_of_draws_in_longhand(source):
    game = AffineGame(ALONE, Corners())
    images, targets = batch(source)
    found = measure(game, [(images[:40], targets[:40]), (images[40:], targets[40:])], generator(7))
    draws, thetas = generator(7), []
    for part in (images[:40], images[40:]):
        drawn = []
        for _ in range(4):
            noise = game.augmentor.draw_noise(len(part), draws)
            drawn.append(game.augmentor.theta(game.augmentor.choose(part, noise), noise).detach())
        thetas.append(torch.stack(drawn))
    theta = torch.cat(thetas, dim=1)
    assert found["distance"] == pytest.approx(float(identity_distance(theta.flatten(0, 1)).mean()), rel=1e-5)
    assert found["draw_spread"] == pytest.approx(float(theta.flatten(2).std(dim=0).mean()), rel=1e-5)
    assert found["image_spread"] == pytest.approx(float(theta.mean(dim=0).flatten(1).std(dim=0).mean()), rel=1e-5)


HEALTHY = {
    "distance": 0.3,
    "image_spread": 0.05,
    "draw_spread": 0.1,
    "at_bound": 0.0,
    "entropy_before": 1.4,
    "entropy_after": 1.6,
    "recognized_before": 0.8,
    "recognized_after": 0.7,
}
SETTINGS = dataclasses.asdict(AffineSettings())


@pytest.mark.parametrize(
    ("measures", "settings", "collapse", "help"),
    [
        ({"distance": 0.01}, {"sign": "printed"}, "identity", "sign=corrected"),
        ({"distance": 0.01}, {"discriminator": "saturating"}, "identity", "discriminator=none"),
        ({"entropy_after": 1.41}, {"recognized": 0.99}, "identity", "a smaller recognized"),
        ({"distance": 0.01}, {"recognized": None}, "identity", "entropy_weight"),
        ({"entropy_after": 1.36}, {}, "identity", "entropy_weight"),
        ({"entropy_after": 1.34}, {"sign": "printed"}, "certain", "sign=corrected"),
        ({"image_spread": 0.001, "draw_spread": 0.001}, {}, "one corner", "draw=distribution"),
        ({"at_bound": 0.9}, {}, "one corner", "spread_weight"),
        ({"recognized_after": 0.5}, {}, "destroyed", "recognized=0.9"),
    ],
)
def test_each_collapse_is_named_with_the_setting_that_helps(measures, settings, collapse, help):
    found = diagnose(HEALTHY | measures, SETTINGS | settings)
    assert list(found) == [collapse]
    assert help in found[collapse]


def test_what_is_healthy_is_no_collapse():
    assert diagnose(HEALTHY, SETTINGS) == {}


def test_a_collapse_is_warned_of(source, tmp_path):
    settings = dataclasses.replace(ALONE, augmentor=POINT, sign="printed", epochs=1)
    with pytest.warns(UserWarning, match="the augmentor collapsed \\(identity\\).*sign=corrected helps"):
        found = learn(source, settings, tmp_path / "c")
    assert list(found.collapses) == ["identity"]


class FragileCorners(nn.Module):
    """The same classifier with rectified units, which large steps of training switch off for good."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(8.0 * torch.eye(4)), nn.Parameter(torch.eye(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B, 3, H, W]`` -> logits ``[B, 4]``."""
        corners = nn.functional.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 2).flatten(1)
        return (corners @ self.first).relu() @ self.second


@pytest.mark.parametrize(("rate", "forgets"), [(0.02, False), (30.0, True)])
def test_a_classifier_that_forgets_is_warned_of(source, tmp_path, rate, forgets):
    wide = AugmentorConfig(bounds=AffineBounds(90.0, 1.3, 0.2, 0.4))
    settings = AffineSettings(augmentor=wide, refresh_rate=rate, epochs=2, epoch_steps=20, batch_size=16)
    fabric = Fabric(accelerator="cpu", devices=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = learn_affine(
            *(FragileCorners(), source, {}, settings), seed=3, checkpoint_file=tmp_path / "c", fabric=fabric
        )
    first, last = (found.epochs[i]["train"]["recognized_before"] for i in (0, -1))
    assert first == 1.0
    assert (last < 0.75) == forgets
    said = [str(each.message) for each in caught if "forgotten" in str(each.message)]
    assert (list(found.collapses) == ["forgotten"]) == forgets == bool(said)
    if forgets:
        assert f"recognizes {100 * last:.0f} % of the original images, at first 100 %" in said[0]
        assert "a smaller refresh_rate helps" in said[0]


@pytest.mark.parametrize("refresh", [False, True])
def test_learning_goes_on_bit_for_bit_from_any_checkpoint(source, tmp_path, monkeypatch, refresh):
    settings = AffineSettings(refresh=refresh, discriminator="saturating", epochs=2, batch_size=32, epoch_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = learn(source, settings, tmp_path / "whole")
        monkeypatch.setattr(learning, "CHECKPOINT_SECONDS", 0.0)
        save, saves = learning._save, []

        class StoppedError(Exception):
            pass

        def stop(*args):
            save(*args)
            saves.append(args)
            raise StoppedError

        monkeypatch.setattr(learning, "_save", stop)
        file = tmp_path / "parts"
        for _ in range(20):
            try:
                parts = learn(source, settings, file)
                break
            except StoppedError:
                pass
    assert len(saves) == 6
    assert parts.epochs == whole.epochs
    for name, weight in whole.augmentor.network.state_dict().items():
        assert torch.equal(weight, parts.augmentor.network.state_dict()[name])


def test_an_epoch_is_reported_with_what_matters(source, tmp_path):
    lines = []
    found = learn(
        source, dataclasses.replace(ALONE, epochs=2), tmp_path / "c", on_epoch=lambda *line: lines.append(line)
    )
    assert [line[:2] for line in lines] == [(1, 2), (2, 2)]
    assert lines[-1][2].startswith(f"distance {found.epochs[-1]['validation']['distance']:.2f}, entropy ")
    assert len(found.epochs) == 3
    assert set(found.epochs[0]) == {"train", "validation"}
    assert found.seconds > 0


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
def test_an_epoch_of_few_images_has_several_passes_until_it_has_enough_steps(source, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(AffineGame, "step", lambda game, images, targets, generator: seen.append(images[:, 0, 0, 0]))
    settings = dataclasses.replace(ALONE, epochs=2, batch_size=40, epoch_steps=5)
    found = learn(source, settings, tmp_path / "c")  # 96 images: two steps of 40 a pass, three passes an epoch
    assert len(found.epochs) == 3
    assert [len(each) for each in seen] == 12 * [40]
    assert len({tuple(torch.cat(seen[i : i + 2]).tolist()) for i in range(0, 12, 2)}) == 6  # all orders differ
    # enough images for the steps: one pass, in the order of an epoch without a smallest number of steps
    whole = [seen.pop(0) for _ in range(12)]
    learn(source, dataclasses.replace(settings, epochs=1, epoch_steps=2), tmp_path / "d")
    assert all(torch.equal(first, again) for first, again in zip(whole, seen, strict=False))
    assert len(seen) == 2


def recognized(before: float, after: float, **measures: float) -> dict[str, float]:
    return {**HEALTHY, "recognized_before": before, "recognized_after": after, **measures}


@pytest.mark.parametrize(
    ("options", "measures", "steps", "ended"),
    [
        ({}, recognized(0.8, 0.72), 400, True),  # 0.72 / 0.8 = 0.9, as wanted
        ({}, recognized(0.8, 0.72), 399, False),
        ({"stop_steps": 40}, recognized(0.8, 0.72), 40, True),
        ({"stop_steps": None}, recognized(0.8, 0.72), 4000, False),
        ({}, recognized(0.8, 0.75), 400, True),  # 0.9375
        ({}, recognized(0.8, 0.764), 400, False),  # 0.955
        ({}, recognized(0.8, 0.676), 400, False),  # 0.845
        ({"recognized": 0.85}, recognized(0.8, 0.676), 400, True),
        ({}, recognized(0.8, 0.72, distance=0.01), 400, False),  # the identity
        ({}, recognized(0.0, 0.0), 400, False),
        ({"recognized": None}, recognized(0.8, 0.72), 400, False),
    ],
)
def test_learning_ends_where_its_target_is_met_after_enough_steps(options, measures, steps, ended):
    game = AffineGame(AffineSettings(**options), Corners())
    assert game.finished(measures, steps) is ended


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
def test_learning_that_met_its_target_is_not_continued(source, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(AffineGame, "step", lambda game, *parts: steps.append(len(parts[0])))
    monkeypatch.setattr(AffineGame, "finished", lambda game, measures, done: done >= 4)
    settings = dataclasses.replace(ALONE, epochs=9, batch_size=48)
    first = learn(source, settings, tmp_path / "c")
    assert len(first.epochs) == 3  # two epochs of two steps
    assert len(steps) == 4
    assert learn(source, settings, tmp_path / "c").epochs == first.epochs
    assert len(steps) == 4


def test_settings_are_read_from_nested_tables():
    found = read_settings(AffineSettings, {"sign": "printed", "augmentor": {"bounds": {"rotation": 5.0}}}, "learned")
    assert (found.sign, found.augmentor.bounds.rotation, found.augmentor.form) == ("printed", 5.0, "bounded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sgin": "printed"}, "unknown setting of learned: 'sgin'; did you mean 'sign'"),
        ({"sign": "wrong"}, "sign must be one of corrected, printed, got 'wrong'"),
        ({"epochs": 0}, "epochs must be a whole number between 1 and 100000, got 0"),
        ({"recognized": 1.5}, "recognized must lie between 0 and 1, got 1.5"),
        ({"form": "gap", "sign": "printed"}, "form=gap needs sign=corrected"),
        ({"recognized": None, "recognition_weight": 1.0}, "recognized must not be null"),
        ({"target_entropy": 0.5, "sign": "printed"}, "target_entropy needs sign=corrected"),
        ({"augmentor": 3}, "augmentor must be a table of settings, got 3"),
        ({"augmentor": {"form": "round"}}, "form must be one of bounded, free, got 'round'"),
        ({"augmentor": {"bounds": {"rotation": 999}}}, "rotation must lie between 0 and 180"),
        ({"entropy_weight": "much"}, "entropy_weight"),
        ({"refresh": "no"}, "refresh must be a bool, got 'no'"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(InputError, match=message):
        read_settings(AffineSettings, options, "learned")


def train(out: Path) -> list[str]:
    """Three stages on the embedded digits, an epoch each."""
    return [
        *("train", "--backbone", "resnet8", "--augment", "crop+learned", "--epochs", "2"),
        *("--batch-size", "256", "--out", str(out)),
        *("--set", "augment_options.epochs=1", "augment_options.epoch_steps=1"),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("learned") / "whole"
    assert command(out.parent, *train(out)).code == 0
    return out


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_run_that_is_killed_in_a_stage_goes_on_to_the_same_result(tmp_path, whole, stage):
    """Killed as soon as the stage has written a checkpoint, which is long before the stage's end."""
    out = tmp_path / "killed"
    name = {1: "stage1.safetensors", 2: "stage2.safetensors", 3: "checkpoint.safetensors"}[stage]
    assert command(tmp_path, *train(out), watched=f"killed/{name}", at=3).killed
    assert (out / name).exists()
    assert not (out / "done").exists()
    assert command(tmp_path, *train(out)).code == 0
    records = [read_json(folder / "record.json") for folder in (out, whole)]
    for record in records:
        del record["duration_s"], record["learned"]["search_s"]
    assert records[0] == records[1]
    for file in ("model.safetensors", "augmentor.safetensors"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()
    assert not list(out.glob("stage*"))


def test_the_record_says_what_was_learned(whole):
    record = read_json(whole / "record.json")
    learned = record["learned"]
    assert (learned["kind"], learned["first_epochs"], len(record["epochs"])) == ("learned", 1, 1)
    assert learned["settings"]["sign"] == "corrected"
    assert len(learned["epochs"]) == 2
    assert learned["epochs"][1]["validation"]["distance"] > 0.05
    assert learned["search_s"] > 0
    config = AffineAugmentor.read(whole / "augmentor.safetensors").config
    assert dataclasses.asdict(config) == learned["settings"]["augmentor"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--augment", "learned", "--epochs", "1"), "augment='learned' trains in stages and needs --epochs 2 or more"),
        (("--augment", "lerned"), "unknown augmentation 'lerned'; did you mean 'learned'"),
        (("--augment", "learned+learned"), "has 2 learned parts; a run can learn at most one"),
        (("--augment", "learned", "--set", "augment_options.sgin=printed"), "did you mean 'sign'"),
        (("--set", "augment_options.sign=printed"), "but augment='crop' has no learned part"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main(["compare", "--recipes", "erm", "--out", str(tmp_path / "out"), *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/runs/*"))
