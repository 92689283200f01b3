"""A cue that goes with the class where one trains, and against it elsewhere: who falls for it.

Of each example the shape is four numbers that tell two classes apart with 75 % accuracy everywhere, and the color is
one number that agrees with the class by chance: often in the source domains, in 10 % of the unseen one. Whoever uses
the shape alone has 75 % anywhere. Whoever fits the pooled sources weighs both by their log-odds, and comes to an
accuracy on the unseen domain that can be written down (`pooled_accuracy`). A method made for the task has to gain at
least half of what lies between the two: the other half is left for training on 2,000 examples in 160 steps.
"""

from __future__ import annotations

from functools import cache
from math import erf, log, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.algorithms import ALGORITHMS
from afield.augment import Identity
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective
from afield.training import Splits, Subset, TrainConfig, fit

SHAPE = 0.6745  # distance of a class from the middle, in deviations: 75 % of a normal lie below it
UNSEEN = 0.1  # how often color and class agree there

Sources = tuple[tuple[int, float], ...]
"""Examples, and how often color and class agree, of each."""

EQUAL = ((1000, 0.9), (1000, 0.7))
"""Two sources of one size: the slopes and the risks of a classifier differ between them as far as it uses color."""

MINORITY = ((1800, 0.95), (200, 0.1))
"""A small source in which the cue is wrong, as it is in the unseen domain."""


def normal(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))


def pooled_accuracy(sources: Sources) -> float:
    """On the unseen domain, of the best classifier of the pooled sources."""
    agree = sum(count * cue for count, cue in sources) / sum(count for count, _ in sources)
    color, mean, deviation = log(agree / (1 - agree)), 2 * SHAPE**2, 2 * SHAPE
    return UNSEEN * normal((mean + color) / deviation) + (1 - UNSEEN) * normal((mean - color) / deviation)


def domain(rng: np.random.Generator, count: int, cue: float) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(2, size=count)
    shape = rng.normal(size=(count, 4)) + SHAPE / 2 * (2 * labels[:, None] - 1)
    color = 2 * np.where(rng.random(count) < cue, labels, 1 - labels) - 1
    return np.column_stack([shape, 2 * color]).astype(np.float32), labels


def make_parts(sources: Sources, seed: int) -> Splits:
    rng = np.random.default_rng(seed)
    blocks = [domain(rng, *source) for source in (*sources, *sources, (2000, UNSEEN))]
    features, labels = (np.concatenate(part) for part in zip(*blocks, strict=True))
    sizes = [count for count, _ in sources]
    domains = np.repeat([0, 1, 0, 1, 2], [*sizes, *sizes, 2000])
    train, val, test = np.split(np.arange(len(labels)), [sum(sizes), 2 * sum(sizes)])
    return Splits(
        Subset(features, labels, train, domains),
        Subset(features, labels, val),
        {"unseen": Subset(features, labels, test)},
    )


@cache
def accuracy(name: str, sources: Sources, seed: int, options: tuple[tuple[str, Any], ...] = ()) -> float:
    """On the unseen domain, after the last epoch."""
    torch.manual_seed(seed)
    objective = Objective(LinearHead(16, 2), {"cross_entropy": 1.0})
    backbone = nn.Sequential(nn.Linear(5, 16), nn.ReLU())
    classifier = Classifier(backbone, objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0)
    parts = make_parts(sources, seed)
    with TemporaryDirectory() as folder:
        progress = fit(
            ALGORITHMS[name](classifier, parts.train.domain_sizes, **dict(options)),
            parts,
            TrainConfig(epochs=40, batch_size=500, learning_rate=0.1, weight_decay=1e-3),
            Identity(),
            seed=seed,
            label=name,
            checkpoint_file=Path(folder) / "checkpoint.safetensors",
            fabric=Fabric(accelerator="cpu", devices=1),
        )
    return progress.epochs[-1].test["unseen"]["accuracy"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sources", [EQUAL, MINORITY], ids=["equal", "minority"])
def test_erm_falls_for_the_cue_as_far_as_theory_says(sources, seed):
    assert accuracy("erm", sources, seed) == pytest.approx(pooled_accuracy(sources), abs=0.04)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "sources", "options"),
    [
        ("irm", EQUAL, (("penalty", 100.0), ("anneal", 0.1))),
        ("vrex", EQUAL, (("penalty", 100.0),)),
        ("irm", MINORITY, (("penalty", 100.0), ("anneal", 0.1))),
        ("vrex", MINORITY, (("penalty", 10.0),)),
        ("groupdro", MINORITY, ()),
    ],
)
def test_a_method_made_for_it_gains_half_of_what_there_is_to_gain(name, sources, options, seed):
    """GroupDRO owes part of it to balanced batches, which alone bring the minority's share from 10 % to half."""
    margin = 0.5 * (0.75 - pooled_accuracy(sources))
    assert margin > 0.16
    assert accuracy(name, sources, seed, options) > accuracy("erm", sources, seed) + margin


@pytest.mark.parametrize("name", ["groupdro", "coral", "mldg", "domain_mixup", "rsc"])
def test_the_others_are_not_made_for_a_cue_that_every_source_has(name):
    """GroupDRO's worst source still has the cue at 0.7, CORAL's statistics hardly differ between the sources, MLDG's
    step on the one helps on the other, mixing keeps the cue, and RSC leaves hidden units that repeat a muted one."""
    assert accuracy(name, EQUAL, 0) < accuracy("erm", EQUAL, 0) + 0.05
