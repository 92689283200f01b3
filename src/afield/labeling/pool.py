"""The images of a new place, as the input of strategies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from afield.errors import InputError

FLOATS = (torch.float32, torch.float64)
TYPES = {
    **dict.fromkeys(("features", "logits", "draws", "predicted_losses"), FLOATS),
    **dict.fromkeys(("labeled", "excluded"), (torch.bool,)),
    **dict.fromkeys(("labels", "sequences"), (torch.int64,)),
}
"""Types of the tensors of a pool."""


@dataclass(frozen=True)
class Pool:
    """Features and logits of N images, some of them labeled.

    Attributes:
        features: features ``[N, D]``; can be a memory map that is larger than memory.
        logits: logits ``[N, K]``.
        labeled: bool ``[N]``: images with a label; by default none.
        excluded: bool ``[N]``: images that must not be chosen, such as the audit sample; by default none.
        labels: int64 ``[N]``: classes of the labeled images; -1 or None if unknown.
        sequences: int64 ``[N]``: sequence of each image, for `structured`; images of a sequence are in order. By
            default, all images form one sequence.
        draws: logits under dropout, ``[S, N, K]``, for `bald`.
        predicted_losses: predicted losses ``[N]``, for `learning_loss`.

    Raises:
        InputError: if the sizes do not match, a tensor is not on the CPU or has another type, or logits are not finite.

    Example:
        >>> pool = Pool(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
        >>> entropy(pool, 1, torch.Generator())  # doctest: +SKIP
        tensor([0])
    """

    features: Tensor
    logits: Tensor
    labeled: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    excluded: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    labels: Tensor | None = None
    sequences: Tensor | None = None
    draws: Tensor | None = None
    predicted_losses: Tensor | None = None

    def __post_init__(self) -> None:
        for name, kinds in TYPES.items():
            value = getattr(self, name)
            if value is not None and (value.dtype not in kinds or value.device.type != "cpu"):
                allowed = " or ".join(str(kind).removeprefix("torch.") for kind in kinds)
                found = f"{str(value.dtype).removeprefix('torch.')} on {value.device}"
                raise InputError(f"{name} of a pool must be {allowed} on the CPU, got {found}")
        if not self.logits.isfinite().all():
            raise InputError("logits of a pool must be finite")
        for name in ("labeled", "excluded"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, torch.zeros(len(self), dtype=torch.bool))
        for name in ("logits", "labeled", "excluded", "labels", "sequences", "predicted_losses"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self):
                raise InputError(f"a pool of {len(self)} images needs {len(self)} values in {name}, got {len(value)}")
        if self.draws is not None and self.draws.shape[1] != len(self):
            raise InputError(f"a pool of {len(self)} images needs draws [S, {len(self)}, K], got {[*self.draws.shape]}")

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def available(self) -> Tensor:
        """bool ``[N]``: images that are neither labeled nor excluded."""
        return ~(self.labeled | self.excluded)

    def highest(self, scores: Tensor, count: int) -> Tensor:
        """Indices of the `count` available images with the highest scores ``[N]``, highest first, ties in order."""
        order = scores.masked_fill(~self.available, -torch.inf).argsort(descending=True, stable=True)
        return order[:count]

    def with_labeled(self, indices: Tensor) -> Pool:
        """Return a copy of the pool in which these images are labeled too. Their classes are not changed."""
        labeled = self.labeled.clone()
        labeled[indices] = True
        return replace(self, labeled=labeled)

    def with_excluded(self, indices: Tensor) -> Pool:
        """Return a copy of the pool in which these images are excluded too; indices or a bool mask."""
        excluded = self.excluded.clone()
        excluded[indices] = True
        return replace(self, excluded=excluded)
