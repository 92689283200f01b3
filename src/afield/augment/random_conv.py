"""Random convolutions, which change the colors and textures of images and keep their shapes."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.params import UNTOUCHED, PerImage
from afield.pixels import as_bytes, as_floats, check_range


@dataclass(frozen=True)
class Kernels(PerImage):
    """The convolution of each image.

    Attributes:
        size: side of the kernel in pixels, int64 ``[B]``; 0 if the image does not change.
        weights: ``[B, 3, 3, S, S]``, by output and input channel; a kernel smaller than S is the center of them.
        kept: weight of the original image in the result, ``[B]``.
    """

    size: Tensor
    weights: Tensor
    kept: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        if not (size := int(self.size[index])):
            return UNTOUCHED
        return f"convolution of {size} x {size} px, {100 * (1 - float(self.kept[index])):.0f} %"


@AUGMENTATIONS.register(
    "random_conv",
    reference="Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions, ICLR 2021.",
)
@dataclass(frozen=True)
class RandomConv(OnBatch):
    """Mixes each image with a random convolution of it, which changes colors and textures.

    The kernel has normally distributed weights of variance ``1 / (3 k^2)``, so that the contrast of the image stays the
    same on average. It is applied to the difference to middle gray, and the result is clipped to [0, 1].

    In the paper, all images of a batch have the same kernel, and the difference is that to the mean color of ImageNet.
    Its loss that makes the predictions for several convolutions of an image consistent is not part of this.

    Attributes:
        sizes: sides k of the kernels, odd, in pixels; each is equally likely.
        mix: whether the convolution is mixed with the image, with a uniform random weight (RC_mix in the paper);
            otherwise it replaces the image (RC_img).
        p: probability that an image changes.

    References:
        Xu et al., "Robust and Generalizable Visual Representation Learning via Random Convolutions", ICLR 2021,
        section 3.
    """

    sizes: tuple[int, ...] = (1, 3, 5, 7)
    mix: bool = True
    p: float = 1.0

    def sample(self, images: Tensor, generator: Generator) -> Kernels:
        """Sample a kernel and the weight of the image for each image of a batch ``[B, 3, H, W]``."""
        count, largest = len(images), max(self.sizes)
        size = torch.tensor(self.sizes)[torch.randint(len(self.sizes), (count,), generator=generator)]
        weights = torch.randn(count, 3, 3, largest, largest, generator=generator)
        weights /= (math.sqrt(3) * size).view(-1, 1, 1, 1, 1)
        kept = torch.rand(count, generator=generator) if self.mix else torch.zeros(count)
        changed = torch.rand(count, generator=generator) < self.p
        return Kernels(*(values.to(images.device) for values in (size.where(changed, 0), weights, kept)))

    def apply(self, images: Tensor, params: Kernels) -> Tensor:
        """Filter the images as sampled; returns ``[B, 3, H, W]``, floats in [0, 1] or rounded to uint8.

        Raises:
            ValueError: if the images are floats outside [0, 1].
        """
        if images.dtype == torch.uint8:
            return as_bytes(self.apply(as_floats(images), params))
        check_range(images)
        found = images.clone()
        for size in self.sizes:
            rows = (params.size == size).nonzero().squeeze(1)
            if len(rows):
                kept = params.kept[rows].view(-1, 1, 1, 1).to(images.dtype)
                found[rows] = torch.lerp(_filtered(images[rows], params.weights[rows], size), images[rows], kept)
        return found


def _filtered(images: Tensor, weights: Tensor, size: int) -> Tensor:
    """Filter each image ``[B, 3, H, W]`` with its own kernel of this size, the center of its weights."""
    margin = (weights.shape[-1] - size) // 2
    kernels = weights[..., margin : margin + size, margin : margin + size].flatten(0, 1).to(images.dtype)
    gray = (images - 0.5).contiguous().flatten(0, 1)[None]
    filtered = F.conv2d(gray, kernels, padding=size // 2, groups=len(images)).view(images.shape)
    return (filtered + 0.5).clamp(0, 1)
