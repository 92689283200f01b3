"""Settings for classes of unequal size: from the training images to the losses, and errors before any training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from afield.data import Validation, load
from afield.errors import InputError
from afield.losses import balanced_weights, effective_weights
from afield.models import BackboneConfig
from afield.recipes import RECIPES, resolve
from afield.records import read_records, run_hash
from afield.runs.classes import class_weights
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run, prepare
from afield.settings import TrainConfig
from tests.command_line import refused
from tests.conftest import write_photos

COUNTS = torch.tensor([30, 10, 2])
NAMES = ("cat", "dog", "grey owl")


def test_class_weights_by_rule_and_by_name():
    assert class_weights(TrainConfig(), COUNTS, NAMES) is None
    assert torch.equal(class_weights(TrainConfig(class_weights="balanced"), COUNTS, NAMES), balanced_weights(COUNTS))
    effective = TrainConfig(class_weights="effective", class_weights_beta=0.9)
    assert torch.equal(class_weights(effective, COUNTS, NAMES), effective_weights(COUNTS, beta=0.9))
    named = TrainConfig(class_weights="grey owl=2.5,cat=0")
    assert class_weights(named, COUNTS, NAMES).tolist() == [0.0, 1.0, 2.5]


@pytest.mark.parametrize("text", ["balance", "cat", "cat=", "=2", "cat=2,", "cat=two", "cat=-1", "cat=nan", "cat=1001"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match=r"class_weights must be none, balanced|weight of class cat must lie between"):
        TrainConfig(class_weights=text)


def test_an_unknown_class_is_named_before_any_training(afield, photos, tmp_path):
    line = refused(afield, "compare", "--data", photos, "--class-weights", "cta=2", "--out", tmp_path / "out")
    assert "unknown class in --class-weights: 'cta'; did you mean 'cat'" in line
    assert not (tmp_path / "out" / "runs").exists()


def unequal(photos):
    for path in (*sorted((photos / "day" / "owl").iterdir())[2:], *sorted((photos / "night" / "owl").iterdir())[4:]):
        path.unlink()
    return load(str(photos), image_size=16)


def test_the_counts_are_those_of_the_training_images_and_reach_objective_and_copies(photos):
    data = unequal(photos)
    setup = ExperimentConfig(
        data, BackboneConfig("resnet8"), False, Validation(), TrainConfig(class_weights="balanced")
    )
    fold, _, classifier = prepare(
        Run(setup, RECIPES["balanced_softmax"], ("night",), 0), None, Fabric(accelerator="cpu")
    )
    counts = torch.from_numpy(np.bincount(data.labels[fold.train]))
    assert counts.tolist() == [11, 10, 2]
    torch.testing.assert_close(classifier.objective.class_weight, balanced_weights(counts))
    features, targets = torch.randn(2, 64), torch.tensor([0, 2])
    logits = classifier.objective.head(features)
    losses = torch.stack(
        [(logits[i] + counts.log()).logsumexp(0) - logits[i, t] - counts[t].log() for i, t in ((0, 0), (1, 2))]
    )
    weights = balanced_weights(counts)[targets]
    torch.testing.assert_close(classifier.objective(features, targets), (weights * losses).sum() / weights.sum())


def test_the_progress_of_training_reaches_every_objective(photos):
    from afield.runs.build import build_algorithm

    setup = ExperimentConfig(unequal(photos), BackboneConfig("resnet8"), False, Validation(), TrainConfig())
    (recipe,) = resolve(["ldam_drw+swad"])
    _, parts, classifier = prepare(Run(setup, recipe, ("night",), 0), None, Fabric(accelerator="cpu"))
    algorithm = build_algorithm(recipe, classifier, parts.train.domain_sizes, 0)
    algorithm.set_progress(0.25)
    assert (classifier.objective.progress, classifier.objective.weighted_from) == (0.25, 0.8)
    assert classifier.objective.head.scale == 30


def test_settings_at_their_default_are_not_part_of_the_hash_of_a_run(photos):
    data = load(str(photos), image_size=16)

    def key(**changed):
        training = TrainConfig(**changed)
        return ExperimentConfig(data, BackboneConfig("resnet8"), False, Validation(), training).config()

    assert not [name for name in key()["training"] if name.startswith("class_")]
    changed = [{"class_weights": "balanced"}, {"class_weights_from": 0.5}, {"class_adjustment": 1.0}]
    assert len({run_hash(key(**each)) for each in ({}, *changed)}) == 4
    setup = dataclasses.replace(
        ExperimentConfig(data, BackboneConfig("resnet8"), False, Validation(), TrainConfig()), metric="nll"
    )
    assert setup.config() == {**key(), "metric": "nll"}


def test_recipes_for_unequal_classes_combine_with_others(afield, tmp_path):
    photos = write_photos(tmp_path / "photos", ("day", "night", "dusk"))
    unequal(photos)
    recipes = (
        "erm",
        "class_weights+flattening",
        "ldam_drw+swad",
        "logit_adjustment+flattening+ema",
        "logit_adjustment+normalized_softmax",
        "logit_adjustment_afterwards+arcface+swad",
        "balanced_softmax+groupdro",
        "class_balanced_sampling+label_smoothing",
        "effective_number+arcface_linear",
    )
    arguments = ("--image-size", 16, "--epochs", 2, "--seeds", 1, "--metric", "worst_class", "--augment", "none")
    code, printed, err = afield(
        "compare", "--data", photos, *arguments, "--recipes", *recipes, "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert "recall of the worst class on unseen domains" in printed
    records = read_records(tmp_path / "out")
    assert {record.recipe for record in records} == set(recipes)
    deferred = next(record for record in records if record.recipe == "ldam_drw+swad")
    assert deferred.config["recipe"]["training"] == {"class_weights": "effective", "class_weights_from": 0.8}


def test_mixed_images_have_no_margin_of_a_class(afield, photos, tmp_path):
    command = ("compare", "--data", photos, "--recipes", "ldam_drw", "--augment", "mixup", "--out", tmp_path / "out")
    assert "cannot use mixup or cutmix: ldam needs class indices [B]" in refused(afield, *command)
