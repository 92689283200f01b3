"""The axis legend, and the two interfaces that everything else is built on.

Axes, wherever a shape is written:

* ``B`` examples in a batch, ``K`` classes, ``D`` features, ``N`` examples in a set,
* ``H``, ``W`` height and width in pixels.

Images are RGB: uint8 ``[N, H, W, 3]`` on disk, float32 ``[B, 3, H, W]`` in channels-last memory in a model.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from afield.target_split import TargetSplit

IGNORE_INDEX = -100
"""The target of a row that does not count, as in PyTorch."""


class Loss(Protocol):
    """Logits ``[B, K]`` and target indices ``[B]`` to one value an example, ``[B]``; the caller reduces."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102


@runtime_checkable
class Head(Protocol):
    """Features ``[B, D]`` to logits ``[B, K]``.

    With targets, logits to train on (a margin may be applied to the target's); without, logits to predict with.
    """

    in_features: int
    num_classes: int

    def __call__(self, features: Tensor, targets: Tensor | None = None) -> Tensor: ...  # noqa: D102


@runtime_checkable
class SplittingHead(Protocol):
    """A head that can keep the target's logit apart from the others, at less cost than all logits have."""

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit: ...  # noqa: D102


@runtime_checkable
class SeesImages(Protocol):
    """A backbone that takes a part of its weights from training images, before it is trained."""

    def see(self, images: Tensor) -> None:
        """Take them from images ``[N, 3, H, W]``, normalized as in training."""
