"""Color jitter of float batches ``[B, 3, H, W]`` in [0, 1], without intermediate rounding to bytes.

`afield.augment.color.operations` has the same operations on bytes, bit-identical to those of torchvision. They cannot
share code, because the operations on bytes round after each operation and compute in torchvision's order.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Scale brightness, contrast (around the mean gray) and saturation (around the gray image) by factors ``[B]``."""
    images = (images * brightness.view(-1, 1, 1, 1)).clamp(0, 1)
    images = _blend(images, _gray(images).mean(dim=(2, 3), keepdim=True), contrast)
    return _blend(images, _gray(images), saturation)


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue of each image by a fraction ``[B]`` of the color circle, in HSV."""
    red, green, blue = images.unbind(1)
    high, low = images.amax(1), images.amin(1)
    spread = high - low
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    sector = torch.where(
        high == red,
        (green - blue) / safe,
        torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = (sector + 6 * turns.view(-1, 1, 1)) % 6
    # Each channel decreases from `high` to `low` with the distance from its position on the circle: 0, 2 and 4.
    position = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (position + hue[:, None]) % 6
    return high[:, None] - spread[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(other.expand_as(images), images, factor.view(-1, 1, 1, 1)).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
