"""Training, augmentation and comparison on a GPU give the results of the CPU, as far as random numbers are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import afield
from afield.algorithms import ALGORITHMS, AVERAGINGS, Algorithm
from afield.augment import AUGMENTATIONS, MixingAugmentation, build_chain
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.records import read_records
from afield.testing.algorithms import SETTINGS, SIZES, images_of, make_classifier, unlabeled
from afield.testing.inputs import generator, images
from afield.training import Splits, TrainState, fit, resident
from tests.conftest import write_photos

pytestmark = pytest.mark.gpu


def make(name: str) -> Algorithm:
    if name in AVERAGINGS.names:
        return AVERAGINGS[name](ALGORITHMS["erm"](make_classifier(), SIZES))
    return ALGORITHMS[name](make_classifier(), SIZES)


def train(algorithm: Algorithm, folder: Path, device: str, precision: str = "32-true", epochs: int = 2) -> TrainState:
    fabric = Fabric(accelerator=device, devices=1, precision=precision)
    there = [
        replace(part, inputs=resident(part.inputs, fabric.device))
        for part in (images_of(SIZES), images_of([6, 6, 6], seed=1), unlabeled())
    ]
    return fit(
        algorithm,
        Splits(there[0], there[1], {}, {"new": there[2]}),
        replace(SETTINGS, epochs=epochs, dropout=0.0),
        build_chain("crop"),
        seed=1,
        label="test",
        checkpoint_file=folder / "checkpoint.safetensors",
        fabric=fabric,
    )


@pytest.mark.parametrize("name", [*ALGORITHMS.names, *AVERAGINGS.names])
def test_every_algorithm_trains_on_a_gpu_in_bf16_and_goes_on_from_its_checkpoint(name, tmp_path):
    state = train(make(name), tmp_path, "cuda", "bf16-mixed")
    again = train(make(name), tmp_path, "cuda", "bf16-mixed")
    assert len(state.epochs) == 2
    assert all(torch.isfinite(logits).all() for logits in state.logits.values())
    assert again.epochs == state.epochs


def test_training_on_a_gpu_has_the_losses_of_the_cpu(tmp_path):
    there, here = (train(make("erm"), tmp_path / device, device, epochs=1) for device in ("cuda", "cpu"))
    assert there.epochs[0].train_loss == pytest.approx(here.epochs[0].train_loss, rel=1e-3)


@pytest.mark.parametrize("name", AUGMENTATIONS.names)
def test_every_augmentation_gives_the_images_of_the_cpu(name):
    made, given = AUGMENTATIONS[name](), images()
    here, there = (made.apply(x, made.sample(x, generator(5))) for x in (given, given.cuda()))
    difference = (as_floats(there).cpu() - as_floats(here)).abs()
    assert difference.quantile(0.99) < 2 / 255  # interpolation can round a few pixels to the other side of an edge
    if isinstance(made, MixingAugmentation):
        targets, params = torch.arange(len(given)) % 3, made.sample(given, generator(5))
        mixed = made.mix_targets(targets.cuda(), made.sample(given.cuda(), generator(5)), 3)
        torch.testing.assert_close(mixed.cpu(), made.mix_targets(targets, params, 3))


def test_several_processes_share_the_card(tmp_path):
    data = write_photos(tmp_path / "photos")
    options = {"data": str(data), "backbone": "resnet8", "image_size": 16, "epochs": 1, "seeds": 2, "device": "cuda"}
    for jobs in (1, 3):
        afield.compare(**options, recipes=("erm", "flattening"), jobs=jobs, out=tmp_path / str(jobs))
    one, three = (read_records(tmp_path / str(jobs)) for jobs in (1, 3))
    assert [record.run for record in one] == [record.run for record in three]
    for a, b in zip(one, three, strict=True):
        assert a.epochs[0].train_loss == pytest.approx(b.epochs[0].train_loss, rel=1e-3)
    assert np.isfinite([record.epochs[0].train_loss for record in three]).all()
