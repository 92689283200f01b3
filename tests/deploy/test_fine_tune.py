"""Fine-tuning of a whole network on a few labels of a new place: digits that are rotated by 40 degrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import afield as package
from afield.data import ImageSet
from afield.deploy import fine_tune
from afield.deploy.adapt import Adapted
from afield.labeling.label_file import Row, write_labels
from afield.training import checkpoint
from tests.command_line import refused

CHOSEN, AUDIT = 40, 200


@pytest.fixture(scope="module")
def place(digits: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of rotated digits beside its label file."""
    root, rows = tmp_path_factory.mktemp("rotated"), list[Row]()
    order = np.random.default_rng(0).permutation(len(digits))[: CHOSEN + AUDIT]
    (root / "site").mkdir()
    for number, index in enumerate(order):
        name = f"{number:03d}.png"
        image = Image.fromarray(digits.images[index])
        image.rotate(40, fillcolor=image.getpixel((0, 0))).save(root / "site" / name)
        label = digits.class_names[digits.labels[index]]
        rows.append(Row(name, label, "chosen" if number < CHOSEN else "audit"))
    write_labels(root / "labels.csv", rows)
    return root


def adapted(model: Path, place: Path, out: Path, **options: object) -> Adapted:
    where = {"model": model, "unlabeled": place / "site", "labels": place / "labels.csv", "method": "none"}
    return package.adapt(**where, out=out, **options)


def test_the_whole_network_gains_more_than_its_head_alone(digits_model, place, tmp_path):
    head = adapted(digits_model, place, tmp_path / "head")
    network = adapted(digits_model, place, tmp_path / "network", tune="network", data="digits")
    assert head.before.value < 0.6
    assert head.after.value > head.before.value
    assert network.after.value > head.after.value + 0.05
    assert network.before == head.before
    saved, before = (
        checkpoint.load(folder / "model.safetensors")[0] for folder in (tmp_path / "network", digits_model)
    )
    assert any(not torch.equal(saved[name], before[name]) for name in before if name.startswith("backbone."))
    images = np.stack([network.model.pixels(file) for file in sorted((place / "site").iterdir())])
    torch.testing.assert_close(package.load(tmp_path / "network").logits(images), network.model.logits(images))
    known = [
        package.evaluate(model=each, data="digits")["all"]["accuracy"] for each in (digits_model, tmp_path / "network")
    ]
    assert known[1] > known[0] - 0.05  # in the training places


def test_it_is_printed_and_repeats_exactly_and_the_audit_labels_change_nothing(
    afield, digits_model, place, tmp_path, monkeypatch
):
    monkeypatch.setattr(fine_tune, "STEPS", 2)
    text = (place / "labels.csv").read_text()
    (tmp_path / "other.csv").write_text("".join(_wrong(line) for line in text.splitlines(keepends=True)))
    where = ("--unlabeled", place / "site", "--method", "none", "--tune", "network", "--labels")
    for name, labels in (("a", place / "labels.csv"), ("b", tmp_path / "other.csv")):
        code, printed, err = afield("adapt", digits_model, *where, labels, "--out", tmp_path / name)
        assert code == 0, err
        assert f"whole network fine-tuned on {CHOSEN} labels; accuracy on {AUDIT} audit images" in printed
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def _wrong(line: str) -> str:
    path, label, purpose = line.strip().split(",")
    return f"{path},{(int(label) + 1) % 10},{purpose}\n" if purpose == "audit" else line


def test_half_of_each_batch_are_training_images(digits_model, digits, place, monkeypatch):
    batches, rows = [], [Row(f"{i:03d}.png", digits.class_names[0], "chosen") for i in range(3)]

    class Watched(fine_tune.ERM):
        def terms(self, batch):
            batches.append((batch.domains.bincount().tolist(), batch.inputs.shape[1:]))
            return super().terms(batch)

    monkeypatch.setattr(fine_tune, "ERM", Watched)
    monkeypatch.setattr(fine_tune, "STEPS", 1)
    fine_tune.fine_tuned(package.load(digits_model), place / "site", rows, digits)
    assert {tuple(counts) for counts, _ in batches} == {(32, 32)}
    batches.clear()
    fine_tune.fine_tuned(package.load(digits_model), place / "site", rows)
    assert batches == [([3], torch.Size([3, 16, 16]))]


def test_the_settings_are_those_of_the_training_with_a_tenth_of_its_learning_rate(digits_model):
    model = package.load(digits_model)
    found, trained = fine_tune.settings(model, 1600), model.config["training"]
    assert found.learning_rate == pytest.approx(trained["learning_rate"] / 10)
    assert (found.optimizer, found.weight_decay) == (trained["optimizer"], trained["weight_decay"])
    assert [found.learning_rate_at(step, 4) / found.learning_rate for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert (found.epochs, found.batch_size) == (3, 64)  # 25 steps an epoch
    assert (fine_tune.settings(model, 28).epochs, fine_tune.settings(model, 28).batch_size) == (60, 28)
    assert fine_tune.augmentation(model) == "translate+alternating_flip"
    model.config["training"]["augment"] = "crop+sha256:0123"
    assert fine_tune.augmentation(model) == "crop"
    model.config["training"]["augment"] = "affine"
    assert fine_tune.augmentation(model) == "none"


def test_what_cannot_be_fine_tuned_is_refused_before_any_work(afield, digits_model, photo_model, place, tmp_path):
    where = ("--unlabeled", place / "site", "--out", tmp_path / "out", "--tune", "network")
    assert "--tune network needs labels of the new place" in refused(afield, "adapt", digits_model, *where)
    labels = ("--labels", place / "labels.csv")
    other = ("--data", photo_model.parent / "photos")
    assert "unknown class of this model 'cat'" in refused(afield, "adapt", digits_model, *where, *labels, *other)
    assert not (tmp_path / "out" / "model.json").exists()
    frozen = tmp_path / "frozen"
    package.train(data="digits", backbone="resnet8_ibn", freeze=True, epochs=1, recipe="erm", out=frozen)
    said = refused(afield, "adapt", frozen, *where, *labels)
    assert "--tune network needs a model that was trained without --freeze" in said
