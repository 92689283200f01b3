"""Conversion of images between bytes and floats in [0, 1], and between NumPy arrays and PyTorch batches."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_floats(images: Tensor) -> Tensor:
    """Convert uint8 to float32 in [0, 1], and float16 (stored activations) to float32. Other floats are unchanged."""
    if images.dtype == torch.float16:
        return images.float()
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def check_range(images: Tensor) -> None:
    """Raise `ValueError` if floats are outside [0, 1], for example normalized, before they are clipped.

    A deviation of half a byte is allowed, because interpolation and rounding can cause it.
    """
    low, high = (end.item() for end in images.aminmax()) if images.numel() else (0, 0)
    if not (low > -0.5 / 255 and high < 1 + 0.5 / 255):
        raise ValueError(f"float images must lie in [0, 1], got {low:g} to {high:g}; normalize after the augmentation")


def as_bytes(images: Tensor) -> Tensor:
    """Convert floats in [0, 1] to uint8, rounded."""
    check_range(images)
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def to_batch(images: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 ``[N, H, W, 3]`` to float32 ``[N, 3, H, W]`` in [0, 1], in channels-last memory format."""
    return as_floats(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2))


def to_array(images: Tensor) -> NDArray[np.uint8]:
    """Convert float ``[N, 3, H, W]`` in [0, 1] to uint8 ``[N, H, W, 3]``."""
    return as_bytes(images).permute(0, 2, 3, 1).contiguous().numpy()


def layout_of(images: Tensor) -> torch.memory_format:
    """The memory format of a batch ``[N, C, H, W]``: channels-last, or contiguous also for any other strides."""
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def with_layout(images: Tensor, layout: torch.memory_format) -> Tensor:
    """The uint8 batch ``[N, C, H, W]`` in this memory format; the same tensor if it already has it.

    NumPy copies bytes into another layout twice as fast as PyTorch, if it copies one channel at a time.
    """
    if images.is_contiguous(memory_format=layout):
        return images
    found = torch.empty_like(images, memory_format=layout)
    for target, channel in zip(found.unbind(1), images.unbind(1), strict=True):
        if images.device.type == "cpu":
            np.copyto(target.numpy(), channel.numpy())
        else:
            target.copy_(channel)
    return found
