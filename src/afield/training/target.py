"""Unlabeled examples of the new place: a batch of them beside each batch that trains."""

from collections.abc import Generator
from itertools import repeat

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.augment import Augmentation
from afield.records import seed_for
from afield.training.batches import in_rounds
from afield.training.prepare import Prepared, prepared
from afield.training.subset import Subset


def target_batches(
    source: Subset | None,
    batch: int,
    steps: range,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    num_classes: int,
    fabric: Fabric,
    epoch: int,
    seed: int,
) -> Generator[Prepared | None]:
    """The target batch of each step that is left of an epoch, augmented as training batches are; None without a source.

    Args:
        source: unlabeled examples.
        batch: examples in each batch.
        steps: of the epoch that are left: its end is the number of all steps, by which the order is drawn.
        augmentation: of images.
        generator: that it draws from.
        num_classes: K.
        fabric: knows the device.
        epoch: from 0.
        seed: of the run; it names the order.
    """
    if source is None:
        yield from repeat(None, len(steps))
        return
    order = in_rounds(source, batch, steps.stop, np.random.default_rng(seed_for("target order", seed, epoch)))
    yield from prepared(
        source,
        order[steps.start :],
        augmentation,
        generator,
        num_classes=num_classes,
        fabric=fabric,
        epoch=epoch,
        seed=seed,
    )
