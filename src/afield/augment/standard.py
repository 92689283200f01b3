"""Random resized crop, flip and color jitter of float batches, with parameters for each image."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.color.float_images import jitter, shift_hue
from afield.augment.params import UNTOUCHED, PerImage
from afield.augment.spatial.affine import warp_affine
from afield.pixels import check_range


@dataclass(frozen=True)
class StandardParams(PerImage):
    """The parameters of each image, each ``[B]``: the crop in [-1, 1] coordinates, and factors or shifts of color."""

    center_x: Tensor
    center_y: Tensor
    half_width: Tensor
    half_height: Tensor
    flip: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        height, width = image_size
        values = {field.name: float(getattr(self, field.name)[index]) for field in fields(self)}
        half_width, half_height = values["half_width"], values["half_height"]
        parts = []
        if min(half_width, half_height) < 1:
            left = (values["center_x"] - half_width + 1) / 2 * width
            top = (values["center_y"] - half_height + 1) / 2 * height
            parts.append(f"crop of {half_width * width:.1f} x {half_height * height:.1f} px at {left:.1f}, {top:.1f}")
        parts += ["flipped"] if values["flip"] else []
        factors = {name: values[name] for name in ("brightness", "contrast", "saturation")}
        parts += [f"{name} x {factor:.2f}" for name, factor in factors.items() if factor != 1]
        parts += [f"hue {360 * values['hue']:+.0f}°"] if values["hue"] else []
        return ", ".join(parts) or UNTOUCHED


@dataclass(frozen=True)
class Standard(OnBatch):
    """The augmentation of JiGen: crop, flip, then brightness, contrast, saturation and hue.

    The color operations are applied in this fixed order (torchvision uses a random order). With ``scale=(1, 1)``,
    ``ratio=(1, 1)`` and zeros for the other attributes, it is the identity.

    JiGen's crop is torchvision's ``RandomResizedCrop``, which samples the area and the ratio together and repeats until
    the box fits. A small box fits more often, so its crops are smaller: 87 % of the area on average, against 90 % here,
    where every area in the range is equally likely. `jigen_crop` has torchvision's distribution.

    Attributes:
        scale: range of the crop area, as a fraction of the image area.
        ratio: range of the ratio of width to height of the crop, sampled log-uniformly.
        flip: probability of a horizontal flip.
        brightness: range of the factors, ``[1 - b, 1 + b]``. The same holds for contrast and saturation.
        hue: range of the shifts, ``[-h, h]``, in turns of the color circle; at most 0.5.

    References:
        Carlucci et al., "Domain Generalization by Solving Jigsaw Puzzles", CVPR 2019, section 4.
    """

    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> StandardParams:
        """Sample parameters for a batch ``[B, 3, H, W]``."""
        count = len(images)

        def uniform(low: float, high: float) -> Tensor:
            return (torch.rand(count, generator=generator) * (high - low) + low).to(images.device)

        area = uniform(*self.scale)
        # Only ratios between the area and its inverse fit into the image. Sample from these.
        low = area.log().clamp(min=math.log(self.ratio[0]))
        high = (-area.log()).clamp(max=math.log(self.ratio[1]))
        aspect = torch.lerp(low, high, uniform(0, 1)).exp()
        half_width, half_height = (area * aspect).sqrt(), (area / aspect).sqrt()
        return StandardParams(
            center_x=uniform(-1, 1) * (1 - half_width),
            center_y=uniform(-1, 1) * (1 - half_height),
            half_width=half_width,
            half_height=half_height,
            flip=uniform(0, 1) < self.flip,
            brightness=uniform(1 - self.brightness, 1 + self.brightness),
            contrast=uniform(1 - self.contrast, 1 + self.contrast),
            saturation=uniform(1 - self.saturation, 1 + self.saturation),
            hue=uniform(-self.hue, self.hue),
        )

    def apply(self, images: Tensor, params: StandardParams) -> Tensor:
        """Crop, flip and change the colors; returns ``[B, 3, H, W]`` in [0, 1].

        Raises:
            ValueError: if the images are bytes (see `RandomResizedCrop` and `ColorJitter`), or floats outside [0, 1].
        """
        if not images.is_floating_point():
            raise ValueError(
                f"Standard needs float images in [0, 1], got {images.dtype}; for bytes, use RandomResizedCrop"
            )
        check_range(images)
        images = crop_flip(images, params)
        if self.brightness or self.contrast or self.saturation:
            images = jitter(images, params.brightness, params.contrast, params.saturation)
        return shift_hue(images, params.hue) if self.hue else images


def crop_flip(images: Tensor, params: StandardParams) -> Tensor:
    """Crop, resize to the original size (bilinear), and flip as sampled."""
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.where(params.flip, -params.half_width, params.half_width)
    theta[:, 0, 2] = params.center_x
    theta[:, 1, 1] = params.half_height
    theta[:, 1, 2] = params.center_y
    return warp_affine(images, theta)


@AUGMENTATIONS.register("none")
@dataclass(frozen=True)
class Identity(OnBatch):
    """Does not change the images."""

    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> None:
        """Return None, because there are no parameters."""

    def apply(self, images: Tensor, params: None) -> Tensor:
        """Return the images unchanged."""
        return images


AUGMENTATIONS.add(
    "crop",
    Standard,
    summary="Crops 80 to 100 % of the area at random, and resizes.",
    reference="Szegedy et al., Going Deeper with Convolutions, CVPR 2015.",
)
AUGMENTATIONS.add(
    "crop_flip",
    lambda: Standard(flip=0.5),
    summary="`crop`, then a horizontal flip with probability 0.5.",
    reference="Szegedy et al., Going Deeper with Convolutions, CVPR 2015.",
)
AUGMENTATIONS.add(
    "crop_flip_jitter",
    lambda: Standard(flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    summary="`crop_flip`, then brightness, contrast, saturation and hue changes of up to 0.4.",
    reference="Carlucci et al., Domain Generalization by Solving Jigsaw Puzzles, CVPR 2019.",
)
