"""Parameters of augmentations: tensors with one row for each image, which can be saved, described and reused."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
else:
    DataclassInstance = object

UNTOUCHED = "unchanged"
"""The description of an image that the augmentation does not change."""


class PerImage(DataclassInstance):
    """Base class of dataclasses of tensors ``[B, ...]``; ``params[3:5]`` are the parameters of images 3 and 4."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, rows: slice | Tensor) -> Self:
        changes: dict[str, Any] = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return replace(self, **changes)

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """The parameters of image `index` as text, for images of this height and width in pixels; see `in_words`."""
        return type(self).__name__


def in_words(params: Any, index: int, image_size: tuple[int, int]) -> str:
    """Describe the parameters of one image of a batch as text.

    Args:
        params: return value of the ``sample`` method of an augmentation.
        index: index of the image in the batch, from 0.
        image_size: height and width of the images, in pixels.

    Returns:
        The description: ``"unchanged"`` if the image does not change, the name of the class for unknown types.

    Example:
        >>> import torch
        >>> from afield.augment import build_chain, in_words
        >>> images, generator = torch.rand(2, 3, 32, 32), torch.Generator().manual_seed(1)
        >>> in_words(build_chain("cutout+random_affine").sample(images, generator), 1, (32, 32))
        'box of 16 x 16 px at 0, 3; 4°, 0.99 x 0.94, shear 0.00, shift 0.5, 0.5 px'
    """
    if isinstance(params, tuple):
        steps = [in_words(step, index, image_size) for step in params]
        return "; ".join(step for step in steps if step != UNTOUCHED) or UNTOUCHED
    if params is None:
        return UNTOUCHED
    return params.describe(index, image_size) if isinstance(params, PerImage) else type(params).__name__
