"""Color operations on uint8 batches ``[B, 3, H, W]``, with a magnitude ``[B]`` for each image.

Each operation is bit-identical to the function of the same name in ``torchvision.transforms.v2.functional`` on uint8.
It uses the same float32 arithmetic in the same order, including fused multiply-adds (`torch.addcmul` fuses where
``Tensor.add(alpha=)`` does).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from afield.augment.color.hue import hue


def brightness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply the brightness by ``1 + magnitude``."""
    factor, _ = _factors(images, magnitude)
    return _to_uint8(images.float().mul_(factor))


def color(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply the saturation by ``1 + magnitude``; -1 gives gray."""
    factor, rest = _factors(images, magnitude)
    exact = images.float()
    gray = _gray(exact)
    return _to_uint8(exact.mul_(factor).addcmul_(gray, rest))


def contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply the contrast by ``1 + magnitude``, around the mean gray."""
    factor, rest = _factors(images, magnitude)
    exact = images.float()
    means = _gray(exact).mean(dim=(-3, -2, -1))
    found = exact.mul_(factor)
    # One image at a time: when PyTorch adds a scalar, it does not fuse the operation for the last pixels of an image.
    for image, mean, weight in zip(found, means, rest.flatten().tolist(), strict=True):
        image.add_(mean, alpha=weight)
    return _to_uint8(found)


def sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply the sharpness by ``1 + magnitude``; -1 smooths by 3 x 3 pixels. The border does not change."""
    if min(images.shape[2:]) <= 2:
        return images
    _, rest = _factors(images, magnitude)
    images = images.contiguous()
    width = images.shape[3]
    # The weights of the kernel are 1/13, and 5/13 in the center: sums of integers, then one rounded product. All rows
    # are one row here, so that the values at the left and right border are wrong; they are replaced at the end.
    exact = images.flatten(2).short()
    across = exact[..., :-2].add(exact[..., 1:-1]).add_(exact[..., 2:])
    smooth = across[..., : -2 * width].add(across[..., width:-width]).add_(across[..., 2 * width :])
    inner = exact[..., width + 1 : -width - 1]
    smooth = smooth.add_(inner, alpha=4).float().mul_(1 / 13).round_()
    inner = inner.float()
    sharp = torch.addcmul(inner, smooth.sub_(inner), rest[..., 0])
    found = images.clone()
    found.flatten(2)[..., width + 1 : -width - 1] = _to_uint8(sharp)
    for side in (0, -1):
        found[..., side] = images[..., side]
    return found


def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Keep only the highest ``magnitude`` bits of each channel, 0 to 8."""
    mask = torch.tensor([0xFF00 >> int(bits) & 0xFF for bits in magnitude.tolist()], dtype=torch.uint8)
    return images & _per_image(mask, images)


def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Invert the values that are at least ``magnitude`` times white; ``magnitude`` is in [0, 1]."""
    threshold = (255.0 * magnitude).float().ceil().to(torch.uint8)
    # A comparison of equal shapes is several times faster than `images >= threshold`.
    negative = torch.maximum(images, _per_image(threshold, images)) == images
    return images ^ negative.view(torch.uint8).neg_()


def autocontrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Stretch each channel to the range from black to white. The magnitude is ignored, here and below."""
    low, high = (bound.float() for bound in (images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)))
    flat = low == high
    stretch = high.sub_(low).mul_(1 / 255).masked_fill_(flat, 1)
    return _to_uint8(images.float().sub_(low.masked_fill_(flat, 0)).div_(stretch))


def equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Equalize the histogram of each channel, with Pillow's table."""
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
    """Invert the image."""
    return ~images


COLOR: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    function.__name__: function
    for function in (brightness, color, contrast, sharpness, posterize, solarize, autocontrast, equalize, invert, hue)
}


def _factors(images: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """``1 + magnitude`` and ``-magnitude``, computed in float64 and rounded to float32, as torchvision does."""
    factor = 1.0 + magnitude.double()
    return _per_image(factor.float(), images), _per_image((1.0 - factor).float(), images)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Reshape ``[B]`` to ``[B, 1, 1, 1]``, on the images' device."""
    return values.to(images.device).view(-1, 1, 1, 1)


def _to_uint8(values: Tensor) -> Tensor:
    """Clamp to [0, 255] and truncate to integers; via int16, which is faster on a CPU."""
    return values.clamp_(0, 255).short().to(torch.uint8)


def _gray(exact: Tensor) -> Tensor:
    """The luma ``[B, 1, H, W]`` of bytes as float32 ``[B, 3, H, W]``, also integers as float32."""
    red, green, blue = exact.split(1, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()
