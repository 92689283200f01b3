"""Faster copies of networks for inference on a CPU, with the same outputs up to rounding."""

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from afield.prefetch import prefetch

Precision = Literal["32", "bf16"]

PIXELS = 4 * 224**2
"""Number of pixels in a group of images. The feature maps of more pixels do not fit into the cache of a CPU."""

TOLERANCE = 1e-5
"""Largest difference of an output in float32, relative to the largest output of an image."""


def fast_inference(network: nn.Module, size: tuple[int, int], precision: Precision = "32") -> nn.Module:
    """A copy of a network in evaluation mode that is faster on a CPU. It has no gradients.

    Batch normalization is folded into the convolution before it, a convolution computes the activation after it (with
    oneDNN), and images are computed in small groups, whose feature maps stay in the cache. In float32, the outputs are
    compared with those of the network on a random image. If the network cannot be traced, its outputs differ by more
    than `TOLERANCE`, or oneDNN cannot compute in bfloat16 on this CPU, the copy only computes in small groups.

    Args:
        network: maps images ``[B, 3, H, W]`` to ``[B, D]``, each image by itself in evaluation mode.
        size: height and width of the images for the comparison.
        precision: ``32``, or ``bf16`` for weights and feature maps in bfloat16. The outputs are always float32.
    """
    from afield.models.fusion import fused  # imports timm

    plain = copy.deepcopy(network).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    computed = precision == "32" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    found = fused(plain) if computed and _equal(fused, plain, size) else plain
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return InGroups(found.to(dtype), dtype)


def computation(device: torch.device, precision: str) -> str:
    """A name of the computation for keys of caches. Equal names mean equal outputs up to rounding."""
    return f"{'fused' if device.type == 'cpu' else 'eager'} {precision}"


class InGroups(nn.Module):
    """Applies a network to a few images at a time: ``[B, 3, H, W]`` -> float32 ``[B, D]``.

    Each group is computed by one thread. The threads of PyTorch compute different groups, so that they need not wait
    for each other in every layer, and the outputs do not depend on their number.

    Args:
        network: maps images ``[B, 3, H, W]`` to ``[B, D]``.
        dtype: dtype of its inputs.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        height, width = images.shape[2:]
        groups = images.to(self.dtype).split(max(1, PIXELS // (height * width)))
        threads = torch.get_num_threads()
        if threads == 1 or len(groups) == 1:
            return torch.cat([self.network(group).float() for group in groups])
        try:
            found = prefetch(self._with_one_thread, groups, depth=threads, threads=threads)
            return torch.cat([*found])
        finally:
            torch.set_num_threads(threads)

    def _with_one_thread(self, group: Tensor) -> Tensor:
        torch.set_num_threads(1)  # of the calling thread
        with torch.no_grad():
            return self.network(group).float()


def _equal(change: Callable[[nn.Module], nn.Module], network: nn.Module, size: tuple[int, int]) -> bool:
    """Whether a changed network gives the outputs of the network on a random image, up to `TOLERANCE`."""
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = network(image)
        try:
            found = change(network)(image)
        except Exception:  # a network may contain anything, so that tracing can raise anything
            return False
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())
