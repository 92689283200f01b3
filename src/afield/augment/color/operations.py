"""Operations on the colors of uint8 batches ``[B, 3, H, W]``, with a magnitude for each image, ``[B]``.

Each equals its namesake in ``torchvision.transforms.v2.functional`` on uint8 to the bit: the same float32 arithmetic
in the same order, fused multiply-adds included (`torch.addcmul` fuses where ``Tensor.add(alpha=)`` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from afield.augment.color.hue import hue


def brightness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Times ``1 + magnitude``."""
    factor, _ = _factors(images, magnitude)
    return _whole(images.float().mul_(factor))


def color(images: Tensor, magnitude: Tensor) -> Tensor:
    """Saturation times ``1 + magnitude``: -1 is gray."""
    factor, rest = _factors(images, magnitude)
    return _whole(images.float().mul_(factor).addcmul_(_gray(images), rest))


def contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Contrast times ``1 + magnitude``, about the mean gray."""
    factor, rest = _factors(images, magnitude)
    found, means = images.float().mul_(factor), _gray(images).mean(dim=(-3, -2, -1))
    # Image by image: where PyTorch adds a single number, the last few pixels of each image are not fused.
    for image, mean, weight in zip(found, means, rest.flatten().tolist(), strict=True):
        image.add_(mean, alpha=weight)
    return _whole(found)


def sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Sharpness times ``1 + magnitude``: -1 is smoothed by 3 x 3 pixels. The border stays as it is."""
    if min(images.shape[2:]) <= 2:
        return images
    _, rest = _factors(images, magnitude)
    exact = images.float()
    inner = exact[:, :, 1:-1, 1:-1]
    # The kernel's weights are 1/13, and 5/13 in the middle: sums of whole numbers, and one rounded division.
    across = exact[..., :-2] + exact[..., 1:-1] + exact[..., 2:]
    smooth = across[:, :, :-2].add(across[:, :, 1:-1]).add_(across[:, :, 2:]).add_(inner, alpha=4).div_(13).round_()
    inner.copy_(torch.addcmul(inner, smooth.sub_(inner), rest))
    return _whole(exact)


def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Only the highest ``magnitude`` bits of each channel, 0 to 8."""
    mask = torch.tensor([0xFF00 >> int(bits) & 0xFF for bits in magnitude.tolist()], dtype=torch.uint8)
    return images & _beside(mask, images)


def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Inverted where a channel is at least ``magnitude`` of white, 0 to 1."""
    threshold = (255.0 * magnitude).float().ceil().to(torch.uint8)
    negative = images >= _beside(threshold, images)
    return images ^ negative.to(torch.uint8).neg_()


def autocontrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel stretched over black to white. The magnitude says nothing, here and below."""
    low, high = (bound.float() for bound in (images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)))
    flat = low == high
    stretch = high.sub_(low).mul_(1 / 255).masked_fill_(flat, 1)
    return _whole(images.float().sub_(low.masked_fill_(flat, 0)).div_(stretch))


def equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel's histogram made even, by Pillow's table."""
    channels = images.flatten(2).flatten(0, 1)
    count, pixels = channels.shape
    index = (channels + 256 * torch.arange(count, dtype=torch.int32, device=images.device)[:, None]).flatten()
    histogram = torch.bincount(index, minlength=256 * count).view(count, 256)
    brightest = histogram.gather(1, channels.amax(1, keepdim=True).long())
    step = (pixels - brightest) // 255
    below = histogram.cumsum(1) - histogram
    table = (below + step // 2).double().div_(step.clamp(min=1)).floor_().clamp_(0, 255)
    table = torch.where(step == 0, torch.arange(256, device=images.device), table).to(torch.uint8)
    return table.flatten().index_select(0, index).view_as(images)


def invert(images: Tensor, magnitude: Tensor) -> Tensor:
    """The negative."""
    return ~images


COLOR: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    function.__name__: function
    for function in (
        brightness,
        color,
        contrast,
        sharpness,
        posterize,
        solarize,
        autocontrast,
        equalize,
        invert,
        hue,
    )
}


def _factors(images: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """``1 + magnitude`` and what is left to 1, rounded to float32 as Python's floats are."""
    factor = 1.0 + magnitude.double()
    return _beside(factor.float(), images), _beside((1.0 - factor).float(), images)


def _beside(values: Tensor, images: Tensor) -> Tensor:
    """``[B]`` -> ``[B, 1, 1, 1]``, on the images' device."""
    return values.to(images.device).view(-1, 1, 1, 1)


def _whole(values: Tensor) -> Tensor:
    """Clamped to 0 to 255 and cut to whole numbers; by way of int16, which is faster on a CPU."""
    return values.clamp_(0, 255).short().to(torch.uint8)


def _gray(images: Tensor) -> Tensor:
    """Luma ``[B, 1, H, W]``, float32, whole numbers."""
    red, green, blue = images.split(1, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()
