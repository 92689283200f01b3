"""The batches of an epoch, as an algorithm sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.algorithms import Batch
from afield.augment import Augmentation, MixingAugmentation
from afield.training.sampling import Positions
from afield.training.source import Source


def take(source: Source, positions: Positions, progress: float, fabric: Fabric) -> Batch:
    """Examples as they are, on the device of the run; `progress` is the share of all steps that are done."""
    domains = torch.from_numpy(source.domain_of[positions])
    inputs, targets, domains, places = fabric.to_device((*source.take(positions), domains, torch.from_numpy(positions)))
    return Batch(inputs, targets, domains, places, progress)


def in_order(source: Source, batch: int, progress: float, fabric: Fabric) -> Iterator[Batch]:
    """A pass over all examples."""
    for positions in np.array_split(np.arange(len(source)), math.ceil(len(source) / batch)):
        yield take(source, positions, progress, fabric)


def augmented(augmentation: Augmentation, batch: Batch, generator: torch.Generator, num_classes: int) -> Batch:
    """Images with a draw for each, and their targets: soft, ``[B, K]``, where images are mixed. Features stay."""
    if batch.inputs.ndim != 4:
        return batch
    params, targets = augmentation.sample(batch.inputs, generator), batch.targets
    if isinstance(augmentation, MixingAugmentation):
        targets = augmentation.mix_targets(targets, params, num_classes)
    return batch._replace(inputs=augmentation.apply(batch.inputs, params), targets=targets)
