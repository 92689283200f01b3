"""Batches of unlabeled examples of the new place, one for each training batch."""

from collections.abc import Generator
from itertools import repeat

import numpy as np
import torch

from afield.augment import Augmentation
from afield.fabric import Fabric
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
    """Yield a target batch for each remaining step of an epoch, augmented like training batches; None without a source.

    Args:
        source: unlabeled examples.
        batch: number of examples per batch.
        steps: remaining steps of the epoch; the end of the range is the number of all steps, which determines the
            order.
        augmentation: augmentation of the images.
        generator: random number generator of the augmentation.
        num_classes: K.
        fabric: provides the device.
        epoch: index of the epoch, from 0.
        seed: seed of the run, which determines the order.
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
        labeled=False,
    )
