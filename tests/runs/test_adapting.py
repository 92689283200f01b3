"""Runs that adapt: what they are tested with, that no label of the images to adapt to is read, and what was before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.adaptation import ADAPTATIONS, FeatureStatistics, SourceStatistics
from afield.data import ImageSet, Unlabeled, Validation, make_fold
from afield.models import BackboneConfig
from afield.recipes import Recipe, resolve
from afield.records import Record
from afield.runs.adapting import source_statistics, standardized, with_norm
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import PREDICTIONS, adapter, execute
from afield.runs.run import Run, prepare
from afield.training import checkpoint, predict

FABRIC = Fabric(accelerator="cpu", devices=1)
SIDE, SIZE, DOMAINS = 8, 24, 3
HALF = Unlabeled(0.5)


def images(garbage: bool = False) -> ImageSet:
    """Three domains of 24 images in three classes; of the third, labels can be random."""
    rng = np.random.default_rng(0)
    labels, domains = np.arange(SIZE * DOMAINS) % 3, np.repeat(np.arange(DOMAINS), SIZE)
    pixels = rng.integers(0, 60, (len(labels), SIDE, SIDE, 3)) + 40 * domains[:, None, None, None]
    pixels[np.arange(len(labels)), 2 * labels + 1] += 80
    if garbage:
        unseen = make_fold(images(), ("c",), Validation(0.25), 0, HALF).adapt["c"]
        labels[unseen] = (labels[unseen] + 1 + np.arange(len(unseen)) % 2) % 3
    return ImageSet(
        name="made",
        images=pixels.astype(np.uint8),
        labels=labels,
        domains=domains,
        digests=np.arange(1, len(labels) + 1, dtype=np.uint64),
        class_names=("x", "y", "z"),
        domain_names=("a", "b", "c"),
        paths=tuple(map(str, range(len(labels)))),
        given=np.full(len(labels), -1, dtype=np.int8),
    )


def features_of(data: ImageSet) -> np.ndarray:
    """Twelve averages of each image, with another offset and scale in each domain."""
    means = data.images.reshape(len(data), 4, -1, 3).mean(axis=2).reshape(len(data), 12) / 50
    return (means * (1 + data.domains)[:, None] + data.domains[:, None]).astype(np.float32)


def a_run(recipe: str, *, frozen: bool = False, garbage: bool = False, unlabeled: Unlabeled | None = HALF) -> Run:
    training = choose_training("scratch", epochs=2, batch_size=12, augment="none")
    setup = ExperimentConfig(
        images(garbage), BackboneConfig("resnet8"), frozen, Validation(0.25), training, unlabeled=unlabeled
    )
    return Run(setup, resolve([recipe])[0], ("c",), seed=0)


def result(run: Run, folder: Path) -> tuple[Record, dict[str, torch.Tensor]]:
    features = features_of(run.setup.data) if run.setup.freeze else None
    record = execute(run, folder, FABRIC, features=features)
    return record, checkpoint.load(folder / PREDICTIONS)[0]


FROZEN = ["erm", "standardize+t3a", "flattening+shot", "ema+mcc", "swad+standardize"]
TRAINED = ["standardize+batch_norm", "tent", "dann", "cdan+t3a", "mcd", "mmd", "deep_coral+standardize"]


@pytest.mark.parametrize(
    ("recipe", "frozen"), [*((recipe, True) for recipe in FROZEN), *((recipe, False) for recipe in TRAINED)]
)
def test_no_label_of_an_image_to_adapt_to_is_read(recipe, frozen, tmp_path):
    """Garbage in place of these labels: every epoch and every logit stay the same."""
    record, found = result(a_run(recipe, frozen=frozen), tmp_path / "true")
    other, same = result(a_run(recipe, frozen=frozen, garbage=True), tmp_path / "garbage")
    assert record.epochs == other.epochs
    assert all(torch.equal(found[name], same[name]) for name in found)
    assert record.images == {"train": 36, "validation": 12, "test/c": 12, "adapt/c": 12}


def test_all_recipes_are_tested_on_the_same_images_and_know_it_in_hash_and_record(tmp_path):
    runs = [a_run(recipe, frozen=True) for recipe in ("erm", "standardize+t3a")]
    (erm, plain), (adapted, other) = (result(run, tmp_path / run.hash) for run in runs)
    assert erm.split_hash == adapted.split_hash
    assert torch.equal(plain["indices/test/c"], other["indices/test/c"])
    assert erm.config["unlabeled"] == {"fraction": 0.5}
    assert erm.config["recipe"].keys() & {"adaptation", "adaptation_options"} == set()
    assert adapted.config["recipe"]["adaptation"] == ("standardize", "t3a")
    before = a_run("erm", frozen=True, unlabeled=None)
    assert "unlabeled" not in before.config
    assert len({before.hash, *(run.hash for run in runs)}) == 3


def test_a_hash_from_before_there_was_adaptation_stays():
    run = a_run("erm", unlabeled=None)
    config = run.config
    assert set(config["recipe"]) == {
        "name", "head", "head_options", "losses", "loss_options", "linear_losses", "neck", "augment", "augment_options",
        "algorithm", "algorithm_options", "averaging", "averaging_options", "training",
    }  # fmt: skip
    assert set(config) == {"data", "backbone", "validation", "training", "recipe", "held_out", "seed"}


def test_what_is_tested_is_the_classifier_of_the_epoch_adapted_and_validation_is_not(tmp_path):
    run = a_run("t3a", frozen=True)
    features = features_of(run.setup.data)
    record, found = result(run, tmp_path / "run")
    plain, expected = result(a_run("erm", frozen=True), tmp_path / "plain")
    assert torch.equal(found["best/validation"], expected["best/validation"])
    assert not torch.equal(found["best/test/c"], expected["best/test/c"])
    assert [epoch.validation for epoch in record.epochs] == [epoch.validation for epoch in plain.epochs]
    fold, _, classifier = prepare(run, features, FABRIC)
    kept = {}
    execute(run, tmp_path / "again", FABRIC, features=features, on_trained=lambda _, state: kept.update(state.best))
    classifier.load_state_dict(kept)
    data = run.setup.data
    labels, domains = (torch.from_numpy(values[fold.train]) for values in (data.labels, data.domains))
    source = SourceStatistics.of(torch.from_numpy(features[fold.train]), labels, domains, ("a", "b", "c"), 3)
    adapted = ADAPTATIONS["t3a"]().adapt(classifier.eval(), torch.from_numpy(features[fold.adapt["c"]]), source)
    with torch.no_grad():
        logits = adapted.logits(torch.from_numpy(features[fold.tests["c"]]))
    torch.testing.assert_close(found["best/test/c"], logits)


def test_ready_features_are_standardized_by_the_training_images_of_their_domain():
    data = images()
    features, fold = features_of(data), make_fold(data, ("c",), Validation(0.25), 0, HALF)
    found = standardized(features, fold, data.domains)
    for domain in (0, 1):
        train = fold.train[data.domains[fold.train] == domain]
        val = fold.val[data.domains[fold.val] == domain]
        mean, std = features[train].mean(axis=0), features[train].std(axis=0)
        np.testing.assert_allclose(found[train], (features[train] - mean) / std, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[val], (features[val] - mean) / std, rtol=1e-4, atol=1e-5)
    unseen = data.domains == 2
    assert np.array_equal(found[unseen], features[unseen])


def test_other_views_are_standardized_by_the_images_themselves():
    data = images()
    features, fold = features_of(data), make_fold(data, ("c",), Validation(0.25), 0, HALF)
    first = standardized(features, fold, data.domains)
    view = 3 * features + 1
    found = standardized(np.concatenate([features, view]), fold, data.domains)
    assert np.array_equal(found[: len(data)], first)
    train = fold.train[data.domains[fold.train] == 1]
    mean, std = features[train].mean(axis=0), features[train].std(axis=0)
    np.testing.assert_allclose(found[len(data) + train], (view[train] - mean) / std, rtol=1e-4, atol=1e-5)
    unseen = np.flatnonzero(data.domains == 2)
    assert np.array_equal(found[len(data) + unseen], view[unseen])


def test_a_frozen_backbone_is_tested_on_features_standardized_by_the_new_place(tmp_path):
    """With so many images, pseudo-count 0 and a head that is linear: the mean of its logits is that of the bias."""
    run = a_run("standardize", frozen=True)
    options = {"standardize": {"pseudo_count": 0}}
    run = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, adaptation_options=options))
    features = features_of(run.setup.data)
    fold, parts, classifier = prepare(run, features, FABRIC)
    tested = adapter(run, parts, features, FABRIC)
    source = source_statistics(classifier, tested.train, run.setup.data, 16, FABRIC)
    unseen = features[fold.adapt["c"]]
    adapted = tested.adapted(classifier, "c", source)
    np.testing.assert_allclose(adapted.feature_norm.mean, unseen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(adapted.feature_norm.std, unseen.std(axis=0), rtol=1e-4)
    logits = predict(adapted, parts.adapt["c"], batch_size=16, fabric=FABRIC)
    torch.testing.assert_close(logits.mean(dim=0), classifier.objective.head.bias.detach(), atol=1e-5, rtol=1e-4)


def test_without_images_of_the_new_place_features_are_standardized_by_all_training_images():
    run = a_run("standardize", frozen=True, unlabeled=None)
    features = features_of(run.setup.data)
    fold, parts, classifier = prepare(run, features, FABRIC)
    tested = adapter(run, parts, features, FABRIC)
    source = source_statistics(classifier, tested.train, run.setup.data, 16, FABRIC)
    norm = tested.adapted(classifier, "c", source).feature_norm
    np.testing.assert_allclose(norm.mean, features[fold.train].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.std, features[fold.train].std(axis=0), rtol=1e-4)


def test_validation_of_a_network_is_standardized_by_the_images_own_domain():
    run = a_run("standardize")
    fold, parts, classifier = prepare(run, None, FABRIC)
    logits = adapter(run, parts, None, FABRIC)(classifier)["validation"]
    data, rows = run.setup.data, fold.val
    for domain in (0, 1):
        train = torch.from_numpy(data.images[fold.train[data.domains[fold.train] == domain]]).permute(0, 3, 1, 2) / 255
        val = torch.from_numpy(data.images[rows[data.domains[rows] == domain]]).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            statistics = FeatureStatistics.of(classifier.eval().backbone_features(train))
            expected = with_norm(classifier, statistics).logits(val)
        torch.testing.assert_close(logits[data.domains[rows] == domain], expected, atol=1e-4, rtol=1e-4)


def test_two_unseen_parts_are_adapted_to_apart_and_train_together(tmp_path):
    run = dataclasses.replace(a_run("mcc+t3a", frozen=True), held_out=("b", "c"))
    features = features_of(run.setup.data)
    fold, parts, classifier = prepare(run, features, FABRIC)
    assert parts.target is not None
    assert parts.target.indices.tolist() == [*fold.adapt["b"], *fold.adapt["c"]]
    assert set(parts.target.labels.tolist()) == {-100}
    tested = adapter(run, parts, features, FABRIC)
    source = source_statistics(classifier, tested.train, run.setup.data, 16, FABRIC)
    heads = [tested.adapted(classifier, name, source).objective.head.weight for name in "bc"]
    assert not torch.equal(*heads)
    record, _ = result(run, tmp_path)
    assert set(record.epochs[0].test) == {"b", "c"}
    assert record.images["adapt/b"] == record.images["adapt/c"] == 12


def test_a_run_trains_a_network_on_features_standardized_by_domain():
    _, _, classifier = prepare(a_run("standardize"), None, FABRIC)
    assert type(classifier.feature_norm).__name__ == "DomainFeatureNorm"
    _, _, classifier = prepare(a_run("erm"), None, FABRIC)
    assert classifier.feature_norm is None
    run = a_run("standardize", frozen=True)
    _, _, classifier = prepare(run, features_of(run.setup.data), FABRIC)
    assert isinstance(classifier.backbone, nn.Identity)


def test_an_adaptation_is_in_the_hash_of_the_recipe():
    plain, adapted = (Recipe("r", adaptation=names).config() for names in ((), ("t3a",)))
    assert "adaptation" not in plain
    assert adapted["adaptation"] == ("t3a",)
