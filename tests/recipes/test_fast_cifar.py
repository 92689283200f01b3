"""The recipe and preset fast_cifar on the digits: learning, loading, and resuming."""

from __future__ import annotations

import copy

import torch

import afield as package
from afield.records import read_json
from tests.killed import command

SMALL = ("--preset", "fast_cifar", "--recipe", "fast_cifar", "--backbone", "whitened_vgg_narrow", "--batch-size", 32)


def test_a_few_epochs_learn_the_digits_and_the_model_comes_back_with_its_filters(digits_model, digits):
    record = read_json(digits_model / "record.json")
    assert record["config"]["training"]["norm_bias_rate"] == 64
    assert record["epochs"][-1]["validation"]["accuracy"] > 0.6
    model = package.load(digits_model)
    filters = model.classifier.backbone.whiten.weight
    assert torch.equal(filters[12:], -filters[:12])
    accuracy = (model.logits(digits.images).argmax(1).numpy() == digits.labels).mean()
    assert accuracy > 0.6


def test_killed_in_the_middle_it_ends_bit_for_bit_the_same(digits_model, tmp_path):
    """The process is killed with a checkpoint in the middle of an epoch, and the same command goes on from it."""
    out = tmp_path / "killed"
    arguments = [*map(str, SMALL), "--learning-rate", "0.3", "--epochs", "3", "--augment", "translate+alternating_flip"]
    train = ("train", *arguments, "--out", str(out))
    assert command(tmp_path, *train, watched="killed/checkpoint", at=9, delay=0.01).killed
    assert (out / "checkpoint.safetensors").exists()
    assert not (out / "done").exists()
    end = command(tmp_path, *train)
    assert end.code == 0, end.said
    assert read_json(out / "record.json")["epochs"] == read_json(digits_model / "record.json")["epochs"]
    first, second = (package.load(folder).classifier.state_dict() for folder in (digits_model, out))
    assert all(torch.equal(first[name], copy.copy(second[name])) for name in first)
