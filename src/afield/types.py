"""The names of tensor axes, and the interfaces of losses, heads and backbones.

Axes in all shapes:

* ``B`` examples in a batch, ``K`` classes, ``D`` features, ``N`` examples in a set,
* ``H``, ``W`` height and width in pixels.

Images are RGB: uint8 ``[N, H, W, 3]`` on disk, float32 ``[B, 3, H, W]`` in channels-last memory in a model.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from afield.target_split import TargetSplit

IGNORE_INDEX = -100
"""The target of ignored rows, as in PyTorch."""


class Loss(Protocol):
    """Maps logits ``[B, K]`` and class indices ``[B]`` to one value per example, ``[B]``; the caller reduces."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102


@runtime_checkable
class Head(Protocol):
    """Maps features ``[B, D]`` to logits ``[B, K]``.

    With targets, the logits are for training, and a margin may be applied to the target's logit. Without targets, they
    are for prediction.
    """

    in_features: int
    num_classes: int

    def __call__(self, features: Tensor, targets: Tensor | None = None) -> Tensor: ...  # noqa: D102


@runtime_checkable
class SplittingHead(Protocol):
    """A head that computes a `TargetSplit` at a lower cost than all logits."""

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit: ...  # noqa: D102


@runtime_checkable
class SeesImages(Protocol):
    """A backbone that computes a part of its weights from training images before training."""

    def see(self, images: Tensor) -> None:
        """Compute these weights from images ``[N, 3, H, W]``, normalized as in training."""
