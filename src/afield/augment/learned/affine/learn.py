"""Stage two: the affine augmentor learns against a trained classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Generator, nn

from afield.augment.learned.affine.game import AffineGame
from afield.augment.learned.affine.measures import measure
from afield.augment.learned.affine.settings import AffineSettings
from afield.augment.learned.loop import play
from afield.augment.learned.registry import AUGMENTORS, Learned, Method
from afield.evaluation import diagnose
from afield.records import seed_for
from afield.training import Subset


def learn_affine(
    classifier: nn.Module,
    train: Subset,
    watched: Mapping[str, Subset],
    settings: AffineSettings,
    *,
    seed: int,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[int, int, str], None] = lambda epoch, epochs, detail: None,
) -> Learned:
    """Train an `AffineAugmentor` on a classifier, resuming from `checkpoint_file` where there is one.

    Every random choice comes from generators named by `seed` and the epoch: on a CPU, an interrupted run ends bit
    for bit as one that was not. A collapse is warned of at the end.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; trained, and not changed here.
        train: the images to learn on.
        watched: other parts to measure after each epoch; what is warned of is told from the first of them.
        settings: see `AffineSettings`.
        seed: names the generators.
        checkpoint_file: written every 20 seconds and at the end; the caller removes it.
        fabric: device and precision, of one process.
        on_epoch: called after each epoch, with its number, how many there are, and a line to show.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("augmentor", seed))
        game = AffineGame(settings, classifier).to(fabric.device)

    def step(positions: NDArray[np.int64], generator: Generator) -> None:
        images, targets = fabric.to_device(train.take(positions))
        game.step(images, targets, generator)

    return play(
        game,
        step,
        partial(measure, game),
        diagnose,
        count=len(train),
        parts={"train": train, **watched},
        seed=seed,
        checkpoint_file=checkpoint_file,
        fabric=fabric,
        on_epoch=on_epoch,
    )


AUGMENTORS.add(
    "learned",
    Method(AffineSettings, learn_affine),
    summary="An affine transformation chosen for each image, by entropy as far as a teacher still recognizes it.",
    reference="Learned augmentation, seen as active learning (paper B).",
)
