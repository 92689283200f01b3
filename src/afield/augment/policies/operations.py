"""Operations on uint8 batches, each with a magnitude for each image, and draws of them applied to a whole batch.

| operation | magnitude |
|---|---|
| ``identity``, ``autocontrast``, ``equalize``, ``invert`` | none, 0 |
| ``shear_x``, ``shear_y`` | pixels a pixel |
| ``translate_x``, ``translate_y`` | whole pixels |
| ``rotate`` | degrees |
| ``brightness``, ``color``, ``contrast``, ``sharpness`` | the factor less 1, from -1 |
| ``posterize`` | bits that stay, 0 to 8 |
| ``solarize`` | fraction of white, 0 to 1 |
| ``hue`` | turns of the color circle, -0.5 to 0.5 |

All of them are those of ``torchvision.transforms.v2.functional`` on uint8, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from afield.augment.base import OnBatch
from afield.augment.color.operations import COLOR
from afield.augment.params import UNTOUCHED, PerImage
from afield.augment.policies.geometry import GEOMETRY, Interpolation, warp
from afield.errors import unknown_name
from afield.pixels import as_bytes

NAMES = ("identity", *GEOMETRY, *COLOR)
"""Every operation; its index here is its `Draws.kind`."""

GROUP = torch.tensor([1 if name in GEOMETRY else index for index, name in enumerate(NAMES)])
"""Operations of equal group are applied together: each color operation alone, all of geometry at once."""

CHUNK = 1 << 20
"""Values of images that an operation takes at once: few enough for the cache, enough for threads not to wait for the
interpreter after each."""


@dataclass(frozen=True)
class Draws(PerImage):
    """Operations in their order, some for each image.

    Attributes:
        kind: ``[B, S]``, indices in `NAMES`; 0 is the identity.
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
    """What an image drew, as text: ``"rotate 27, equalize"``."""
    steps = zip(draws.kind[index].tolist(), draws.magnitude[index].tolist(), strict=True)
    named = [NAMES[k] + (f" {magnitude:.3g}" if magnitude else "") for k, magnitude in steps if k]
    return ", ".join(named) or "identity"


def operate(name: str, images: Tensor, magnitude: Tensor | float) -> Tensor:
    """One operation on a uint8 batch ``[B, 3, H, W]``, with a magnitude for each image ``[B]``, or one for all."""
    magnitudes = torch.as_tensor(magnitude, dtype=torch.float64).expand(len(images))
    kinds = torch.full((len(images), 1), kind(name))
    return apply_draws(images, Draws(kinds, magnitudes[:, None]))


def apply_draws(images: Tensor, draws: Draws, interpolation: Interpolation = "nearest") -> Tensor:
    """What each image drew, step by step; images that drew the same operation are processed together.

    Args:
        images: uint8 ``[B, 3, H, W]``; or float in [0, 1], which is rounded to ``k / 255`` (nothing is lost on
            decoded images) except where an image drew nothing but the identity, which leaves it as it is.
        draws: B rows.
        interpolation: of shear, translation and rotation.

    Returns:
        A new batch of the same dtype and memory format.

    Raises:
        ValueError: images of another shape or dtype, or another number of draws.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(f"images must be uint8 or float [B, 3, H, W], got {images.dtype} {list(images.shape)}")
    if len(draws) != len(images):
        raise ValueError(f"{len(images)} images need as many draws, got {len(draws)}")
    if not draws.kind.numel():
        return images.clone()
    if not images.is_floating_point():
        return _apply_steps(images, draws, interpolation)
    found = _apply_steps(as_bytes(images), draws, interpolation).to(images.dtype).div_(255)
    changed = draws.kind.any(dim=1).to(images.device)
    return torch.where(changed[:, None, None, None], found, images)


class OnOperations(OnBatch):
    """Base of augmentations whose draws are operations: `apply` is `apply_draws`."""

    takes_bytes = True

    def apply(self, images: Tensor, params: Draws) -> Tensor:
        """See `apply_draws`."""
        return apply_draws(images, params)


def _apply_steps(images: Tensor, draws: Draws, interpolation: Interpolation) -> Tensor:
    """uint8 images after all their steps."""
    stepped, together = images.clone(memory_format=torch.contiguous_format), max(1, CHUNK // images[:1].numel())
    grouped, found = torch.empty_like(stepped), torch.empty_like(images)
    for kinds, magnitudes in zip(draws.kind.T, draws.magnitude.T, strict=True):
        parts = _alike(kinds, together)
        done = [
            _operate_alike(
                stepped.index_select(0, rows.to(images.device)),
                kinds.index_select(0, rows).tolist(),
                magnitudes.index_select(0, rows),
                interpolation,
            )
            for rows in parts
        ]
        torch.cat(done, out=grouped)
        torch.index_select(grouped, 0, torch.cat(parts).argsort().to(images.device), out=stepped)
    for channel, target in zip(stepped.unbind(1), found.unbind(1), strict=True):  # twice as fast as all at once
        target.copy_(channel)
    return found


def _alike(kinds: Tensor, together: int) -> list[Tensor]:
    """Rows whose operations are of one group, in parts of at most `together` rows; every row once."""
    groups = GROUP.take(kinds)
    sizes = [size for size in torch.bincount(groups).tolist() if size]
    return [part for rows in groups.argsort().split(sizes) for part in rows.split(together)]


def _operate_alike(images: Tensor, kinds: list[int], magnitudes: Tensor, interpolation: Interpolation) -> Tensor:
    """Images of one group, each with its operation."""
    name, (height, width) = NAMES[kinds[0]], images.shape[2:]
    if name in COLOR:
        return COLOR[name](images, magnitudes)
    if name == "identity":
        return images
    pairs = zip(kinds, magnitudes.tolist(), strict=True)
    return warp(images, torch.tensor([GEOMETRY[NAMES[k]](m, height, width) for k, m in pairs]), interpolation)
