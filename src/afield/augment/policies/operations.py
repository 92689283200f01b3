"""Operations on uint8 batches, with a magnitude for each image, and their application to whole batches.

| operation | magnitude |
|---|---|
| ``identity``, ``autocontrast``, ``equalize``, ``invert`` | none, 0 |
| ``shear_x``, ``shear_y`` | pixels per pixel |
| ``translate_x``, ``translate_y`` | whole pixels |
| ``rotate`` | degrees |
| ``brightness``, ``color``, ``contrast``, ``sharpness`` | factor - 1, at least -1 |
| ``posterize`` | number of bits to keep, 0 to 8 |
| ``solarize`` | threshold as a fraction of white, 0 to 1 |
| ``hue`` | turns of the color circle, -0.5 to 0.5 |

All of them are bit-identical to ``torchvision.transforms.v2.functional`` on uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from afield.augment.base import OnBatch
from afield.augment.color.operations import COLOR
from afield.augment.params import UNTOUCHED, PerImage
from afield.augment.policies.geometry import GEOMETRY, MATRICES, TRANSLATIONS, Interpolation, translate, warp
from afield.errors import unknown_name
from afield.pixels import as_bytes, layout_of, with_layout

NAMES = ("identity", *GEOMETRY, *COLOR)
"""All operations. The index of an operation is its `Draws.kind`."""

TOGETHER = (tuple(MATRICES), tuple(TRANSLATIONS))
"""Groups of operations that are applied together to the images of a batch. Each other operation is applied alone."""

GROUP = torch.tensor([NAMES.index(next((group[0] for group in TOGETHER if name in group), name)) for name in NAMES])
"""The group of each operation: the index of its first operation."""

CHUNK = 1 << 19
"""Number of values that an operation processes at once: few enough for the cache, and enough to keep the threads busy
between steps of the interpreter."""


@dataclass(frozen=True)
class Draws(PerImage):
    """Sequences of operations, one for each image.

    Attributes:
        kind: ``[B, S]``, indices into `NAMES`; 0 is the identity.
        magnitude: ``[B, S]``, float64, in the unit of each operation.
    """

    kind: Tensor
    magnitude: Tensor

    def steps(self, first: int, last: int) -> Draws:
        """The operations ``first`` to ``last - 1`` of every image."""
        return Draws(self.kind[:, first:last], self.magnitude[:, first:last])

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return describe(self, index) if self.kind[index].any() else UNTOUCHED


def kind(name: str) -> int:
    """The index of an operation in `NAMES`."""
    if name not in NAMES:
        unknown_name("operation", name, NAMES)
    return NAMES.index(name)


def describe(draws: Draws, index: int) -> str:
    """The operations of an image as text: ``"rotate 27, equalize"``."""
    steps = zip(draws.kind[index].tolist(), draws.magnitude[index].tolist(), strict=True)
    named = [NAMES[k] + (f" {magnitude:.3g}" if magnitude else "") for k, magnitude in steps if k]
    return ", ".join(named) or "identity"


def operate(name: str, images: Tensor, magnitude: Tensor | float) -> Tensor:
    """Apply an operation to a uint8 batch ``[B, 3, H, W]``, with a magnitude for each image ``[B]`` or for all."""
    magnitudes = torch.as_tensor(magnitude, dtype=torch.float64).expand(len(images))
    kinds = torch.full((len(images), 1), kind(name))
    return apply_draws(images, Draws(kinds, magnitudes[:, None]))


def apply_draws(images: Tensor, draws: Draws, interpolation: Interpolation = "nearest") -> Tensor:
    """Apply the operations of each image. Images with the same operation are processed together.

    Args:
        images: uint8 ``[B, 3, H, W]``, or float in [0, 1]. Float images are rounded to ``k / 255``, which does not
            change decoded images. An image whose operations are all the identity is not rounded.
        draws: operations of B images.
        interpolation: interpolation of shear, translation and rotation.

    Returns:
        A new batch of the same dtype and memory format.

    Raises:
        ValueError: if the images have another shape or dtype, or the number of draws is not B.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(f"images must be uint8 or float [B, 3, H, W], got {images.dtype} {list(images.shape)}")
    if len(draws) != len(images):
        raise ValueError(f"{len(images)} images need {len(images)} draws, got {len(draws)}")
    if not draws.kind.numel():
        return images.clone()
    if not images.is_floating_point():
        return _apply_steps(images, draws, interpolation)
    found = _apply_steps(as_bytes(images), draws, interpolation).to(images.dtype).div_(255)
    changed = draws.kind.any(dim=1).to(images.device)
    return torch.where(changed[:, None, None, None], found, images)


class OnOperations(OnBatch):
    """Base class of augmentations by operations. `apply` is `apply_draws`."""

    takes_bytes = True

    def apply(self, images: Tensor, params: Draws) -> Tensor:
        """See `apply_draws`."""
        return apply_draws(images, params)


def _apply_steps(images: Tensor, draws: Draws, interpolation: Interpolation) -> Tensor:
    """Apply all steps to uint8 images. Each step sorts the images by operation, and replaces them by the results."""
    stepped, together = with_layout(images, torch.contiguous_format), max(1, CHUNK // images[:1].numel())
    place = torch.arange(len(images))
    for kinds, magnitudes in zip(draws.kind.T, draws.magnitude.T, strict=True):
        parts = _group_rows(kinds, together)
        rows = torch.cat(parts)
        stepped = stepped.index_select(0, place.take(rows).to(images.device))
        place = rows.argsort()
        for part, batch in zip(parts, stepped.split([len(part) for part in parts]), strict=True):
            found = _operate_group(
                batch, kinds.index_select(0, part).tolist(), magnitudes.index_select(0, part), interpolation
            )
            if found is not batch:
                batch.copy_(found)
    stepped = stepped.index_select(0, place.to(images.device))
    return with_layout(stepped, layout_of(images))


def _group_rows(kinds: Tensor, together: int) -> list[Tensor]:
    """Divide all rows into parts of at most `together` rows, each with operations of one group."""
    groups = GROUP.take(kinds)
    sizes = [size for size in torch.bincount(groups).tolist() if size]
    return [part for rows in groups.argsort().split(sizes) for part in rows.split(together)]


def _operate_group(images: Tensor, kinds: list[int], magnitudes: Tensor, interpolation: Interpolation) -> Tensor:
    """Apply the operation of each image, for images of one group."""
    name, (height, width) = NAMES[kinds[0]], images.shape[2:]
    if name in COLOR:
        return COLOR[name](images, magnitudes)
    if name == "identity":
        return images
    pairs = [(NAMES[each], magnitude) for each, magnitude in zip(kinds, magnitudes.tolist(), strict=True)]
    if name in TRANSLATIONS:
        steps = [(TRANSLATIONS[each], int(magnitude)) for each, magnitude in pairs]
        return translate(images, [(x * magnitude, y * magnitude) for (x, y), magnitude in steps])
    return warp(images, torch.tensor([MATRICES[each](m, height, width) for each, m in pairs]), interpolation)
