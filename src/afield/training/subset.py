"""Subsets of a data set: images or extracted features, with labels and domains."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.pixels import as_floats
from afield.training.out_of_core import block_order, read_batches, window_rows

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Subset:
    """A subset of a data set.

    Attributes:
        inputs: uint8 images ``[N, H, W, 3]``, float32 features ``[N, D]``, or activations ``[V * N, H, W, C]`` of the
            whole set, whose row ``v * N + i`` is view ``v`` of example ``i``. A tensor can be on any device.
        labels: labels of the whole set, int64 ``[N]``.
        indices: indices of the examples in this subset.
        domains: domains of the whole set, int64 ``[N]``; None means a single domain.
        memory: memory limit for memory-mapped inputs, in bytes. Larger inputs are shuffled in blocks and read in
            windows.
        weights: how often each example of the whole set is drawn in training, relative to the others, ``[N]``.
    """

    inputs: NDArray | Tensor
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    domains: NDArray[np.int64] | None = None
    memory: int | None = None
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def with_random_views(self, rng: np.random.Generator) -> "Subset":
        """The subset with a random view of each example; the subset itself if there is one view."""
        count = len(self.labels)
        if (views := len(self.inputs) // count) == 1:
            return self
        return replace(
            self,
            indices=self.indices + count * rng.integers(views, size=len(self)),
            labels=np.tile(self.labels, views),
            domains=None if self.domains is None else np.tile(self.domains, views),
            weights=None if self.weights is None else np.tile(self.weights, views),
        )

    def order(self, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Positions of all examples in random order, for batches of this size."""
        if (array := self._too_large()) is None:
            return self.shuffled(np.arange(len(self)), rng)
        return block_order(len(self), self._window(array, batch), array[:1].nbytes, rng)

    def shuffled(self, positions: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """The positions ``[M]`` in random order. With weights, M positions, each as often as its weight says.

        The number of times is the expected number, rounded up or down at random.
        """
        positions = rng.permutation(positions)
        if self.weights is None:
            return positions
        ends = np.cumsum(self.weights[self.indices[positions]])
        times = np.diff(np.floor(ends / ends[-1] * len(positions) + rng.random()), prepend=0).astype(np.int64)
        return rng.permutation(np.repeat(positions, times))

    def evaluation_batch(self, batch: int) -> int:
        """Batch size for evaluation: at least `EVALUATION_BATCH`, or `batch` if the inputs exceed the memory limit."""
        return max(batch, EVALUATION_BATCH) if self._too_large() is None else batch

    def batches(self, positions: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and labels ``[B]`` of the examples at these positions, batch by batch.

        Inputs are uint8 images ``[B, 3, H, W]`` or activations ``[B, C, H, W]`` in channels-last memory, or features
        ``[B, D]``. If the inputs of the data set are a tensor, they are on its device. Labels are on the CPU.
        """
        chosen = [self.indices[batch] for batch in positions]
        if (array := self._too_large()) is None:
            found = (self._rows(rows) for rows in chosen)
        else:
            window = self._window(array, max(map(len, chosen), default=1))
            found = (torch.from_numpy(rows) for rows in read_batches(array, chosen, window))
        for inputs, rows in zip(found, chosen, strict=True):
            yield inputs.permute(0, 3, 1, 2) if inputs.ndim == 4 else inputs, torch.from_numpy(self.labels[rows])

    def in_order(self, batch: int) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
        """Yield positions, inputs and labels of all examples in order, up to `batch` at a time; see `batches`."""
        positions = np.array_split(np.arange(len(self)), max(1, math.ceil(len(self) / batch)))
        for rows, (inputs, labels) in zip(positions, self.batches(positions), strict=True):
            yield rows, inputs, labels

    def take(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """One batch: inputs ``[B, C, H, W]`` (images as floats in [0, 1]) or ``[B, D]``, and labels ``[B]``."""
        ((inputs, labels),) = self.batches([positions])
        return as_floats(inputs), labels

    @cached_property
    def domain_of(self) -> NDArray[np.int64]:
        """The domain of each example, renumbered from 0 without gaps, in ascending order of the original indices."""
        if self.domains is None:
            return np.zeros(len(self), dtype=np.int64)
        return np.unique(self.domains[self.indices], return_inverse=True)[1].astype(np.int64)

    @property
    def domain_sizes(self) -> list[int]:
        """The number of examples in each domain."""
        return np.bincount(self.domain_of).tolist()

    def _too_large(self) -> np.memmap | None:
        """The inputs, if they exceed the memory limit; otherwise None."""
        mapped = isinstance(self.inputs, np.memmap) and self.memory is not None and self.inputs.nbytes > self.memory
        return self.inputs if mapped else None  # type: ignore[return-value]

    def _window(self, array: np.memmap, batch: int) -> int:
        assert self.memory is not None
        return window_rows(self.memory, array[:1].nbytes, batch)

    def _rows(self, rows: NDArray[np.int64]) -> Tensor:
        if isinstance(self.inputs, Tensor):
            return self.inputs[torch.from_numpy(rows).to(self.inputs.device)]
        return torch.from_numpy(self.inputs[rows])


@dataclass(frozen=True)
class Splits:
    """The training, validation and test examples of a run. Test examples are never used for selection.

    `adapt` contains the examples of unseen parts that are given without labels.
    """

    train: Subset
    val: Subset
    tests: Mapping[str, Subset]
    adapt: Mapping[str, Subset] = field(default_factory=dict)

    @property
    def watched(self) -> dict[str, Subset]:
        """The parts to evaluate after each epoch: ``validation`` and ``test/NAME``."""
        return {"validation": self.val, **{f"test/{name}": source for name, source in self.tests.items()}}

    @property
    def target(self) -> Subset | None:
        """The unlabeled examples of all unseen parts together, if there are any."""
        if not self.adapt:
            return None
        indices = np.concatenate([source.indices for source in self.adapt.values()])
        return replace(next(iter(self.adapt.values())), indices=indices)


def resident(array: NDArray, device: torch.device, chunk: int = 1024) -> Tensor:
    """Copy an array to a device, `chunk` rows at a time."""
    found = torch.empty(array.shape, dtype=torch.from_numpy(array[:0].copy()).dtype, device=device)
    for start in range(0, len(array), chunk):
        found[start : start + chunk] = torch.from_numpy(array[start : start + chunk].copy())
    return found
