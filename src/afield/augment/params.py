"""Parameters of an augmentation: tensors with one row for each image, to keep, show and apply again."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
else:
    DataclassInstance = object


class PerImage(DataclassInstance):
    """Base of dataclasses of tensors ``[B, ...]``; ``params[3:5]`` are the parameters of images 3 and 4."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, rows: slice | Tensor) -> Self:
        changes: dict[str, Any] = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return replace(self, **changes)


@dataclass(frozen=True)
class Draws(PerImage):
    """Operations in their order, some for each image.

    Attributes:
        kind: ``[B, S]``, places in ``afield.augment.policies.operations.NAMES``; 0 is the identity.
        magnitude: ``[B, S]``, float64, in the unit of each operation, see `afield.augment.policies.operations`.
    """

    kind: Tensor
    magnitude: Tensor

    def steps(self, first: int, last: int) -> Draws:
        """The operations ``first`` to ``last - 1`` of every image."""
        return Draws(self.kind[:, first:last], self.magnitude[:, first:last])
