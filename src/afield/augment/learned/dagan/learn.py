"""DAGAN: a generator of variants learns against a critic that compares them with other images of the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Generator, nn

from afield.augment.learned.dagan.game import DaganGame
from afield.augment.learned.dagan.measures import measure_variants
from afield.augment.learned.dagan.pairs import Pairs
from afield.augment.learned.dagan.settings import DaganSettings
from afield.augment.learned.loop import play
from afield.augment.learned.registry import AUGMENTORS, Learned, Method
from afield.evaluation import diagnose_dagan
from afield.records import seed_for
from afield.training import Subset


def learn_dagan(
    classifier: nn.Module,
    train: Subset,
    watched: Mapping[str, Subset],
    settings: DaganSettings,
    *,
    seed: int,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[int, int, str], None] = lambda epoch, epochs, detail: None,
) -> Learned:
    """Train a `DaganAugmentor` on pairs of a class, resuming from `checkpoint_file` where there is one.

    The critic takes pairs of an image and another one of its class for real, and pairs of an image and its variant
    for made. An image that is alone in its class is left out. What else there is to say is in `learn_affine`.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; trained, and not changed here.
        train: the images to learn on.
        watched: other parts to measure after each epoch; what is warned of is told from the first of them.
        settings: see `DaganSettings`.
        seed: names the generators.
        checkpoint_file: written every 20 seconds and at the end; the caller removes it.
        fabric: device and precision, of one process.
        on_epoch: called after each epoch, with its number, how many there are, and a line to show.

    Raises:
        InputError: every image is alone in its class.

    References:
        Antoniou, Storkey, Edwards, "Data Augmentation Generative Adversarial Networks", 2017.
    """
    pairs = Pairs(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("augmentor", seed))
        game = DaganGame(settings, classifier).to(fabric.device)

    def step(places: NDArray[np.int64], generator: Generator) -> None:
        images, targets, partners = fabric.to_device(pairs.take(places, generator))
        game.step(images, targets, partners, generator)

    return play(
        game,
        step,
        partial(measure_variants, game),
        diagnose_dagan,
        count=len(pairs),
        parts={"train": train, **watched},
        seed=seed,
        checkpoint_file=checkpoint_file,
        fabric=fabric,
        on_epoch=on_epoch,
    )


AUGMENTORS.add(
    "dagan",
    Method(DaganSettings, learn_dagan),
    summary="Variants of an image by a small generator that learned from pairs of a class.",
    reference="Antoniou et al., Data Augmentation Generative Adversarial Networks, 2017.",
)
