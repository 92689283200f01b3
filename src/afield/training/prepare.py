"""Preparation of training batches in the background, during the steps on earlier batches."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.augment import Augmentation, Visit, change_targets, sample_at, takes_bytes
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.prefetch import prefetch
from afield.training.subset import Subset


@dataclass(frozen=True)
class Prepared:
    """A prepared batch.

    Attributes:
        inputs: float images ``[B, 3, H, W]``, activations ``[B, C, H, W]`` or features ``[B, D]``.
        targets: class indices ``[B]``, or probabilities ``[B, K]`` if images are mixed.
        drawn: state of the augmentation's generator after the parameters of this batch are drawn.
    """

    inputs: Tensor
    targets: Tensor
    drawn: Tensor


def prepared(
    source: Subset,
    positions: Sequence[NDArray[np.int64]],
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    num_classes: int,
    fabric: Fabric,
    epoch: int = 0,
    seed: int = 0,
    threads: int = 1,
    labeled: bool = True,
) -> Generator[Prepared, None, None]:
    """Prepare batches in the background; images are augmented. Features need no preparation, and no background.

    One thread reads the examples and draws the augmentation parameters in order, so that the random numbers do not
    depend on the number of threads. Other threads apply the augmentation.

    Args:
        source: examples.
        positions: positions of the examples of each batch in `source`.
        augmentation: augmentation of images.
        generator: generator of the augmentation parameters.
        num_classes: K, for mixed targets.
        fabric: device.
        epoch: index of the epoch, from 0, for augmentations that depend on it.
        seed: seed of the run, for the same augmentations.
        threads: number of threads that apply augmentations.
        labeled: whether the augmentation may use the labels.
    """
    examples = source.batches(positions)
    as_bytes = takes_bytes(augmentation)

    def draw(indices: NDArray[np.int64]) -> tuple[Tensor, Tensor, Any, Tensor]:
        inputs, labels = next(examples)
        inputs, targets = fabric.to_device((inputs, labels))
        inputs = inputs if as_bytes else as_floats(inputs)
        visit = Visit(torch.from_numpy(indices), epoch, seed, labels if labeled else None)
        params = sample_at(augmentation, inputs, generator, visit) if inputs.ndim == 4 else None
        return inputs, targets, params, generator.get_state()

    def apply(drawn: tuple[Tensor, Tensor, Any, Tensor]) -> Prepared:
        inputs, targets, params, state = drawn
        if inputs.ndim == 4:
            targets = change_targets(augmentation, targets, params, num_classes)
            inputs = as_floats(augmentation.apply(inputs, params))
        return Prepared(inputs, targets, state)

    if source.inputs.ndim == 2:  # threads would wait for each other longer than it takes to read the features
        return (apply(draw(indices)) for indices in positions)
    return prefetch(apply, prefetch(draw, positions, depth=1), depth=threads, threads=threads)
