"""Variants of an image, drawn by a generator that was trained on pairs of a class (DAGAN)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.networks.network_file import NetworkAugmentation
from afield.augment.networks.variants import VariantNetwork
from afield.augment.params import UNTOUCHED, PerImage
from afield.errors import InputError
from afield.pixels import as_floats
from afield.validation import Checked, setting


@dataclass(frozen=True)
class DaganConfig(Checked):
    """What a `DaganAugmentor` is made of.

    Attributes:
        noise: random numbers an image.
        width: channels of its network at full resolution, a multiple of 4.
        probability: of replacing an image by a variant, where it augments.

    Raises:
        InputError: a value outside its range.
    """

    noise: int = setting(32, low=1, high=10_000)
    width: int = setting(16, low=4, high=10_000)
    probability: float = setting(0.5, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 4:
            raise InputError(f"width must be a multiple of 4, got {self.width}")


@dataclass(frozen=True)
class DaganParams(PerImage):
    """``noise`` ``[B, Z]``, normal; ``applied`` ``[B]``: which images become variants."""

    noise: Tensor
    applied: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return "a variant" if self.applied[index] else UNTOUCHED


class DaganAugmentor(NetworkAugmentation):
    """Images to variants of them that are meant to keep the class, of any height and width.

    It is trained by `afield.augment.learned.learn_dagan`; once trained it augments like every other augmentation here.

    Args:
        config: see `DaganConfig`.

    Attributes:
        network: what is trained, an `nn.Module`; it follows the images to their device.

    Example:
        >>> import torch
        >>> from afield.augment import DaganAugmentor
        >>> augment = DaganAugmentor()
        >>> augment(torch.rand(2, 3, 30, 41)).shape
        torch.Size([2, 3, 30, 41])

    References:
        Antoniou, Storkey, Edwards, "Data Augmentation Generative Adversarial Networks", 2017.
    """

    kind = "dagan"
    config_type = DaganConfig
    config: DaganConfig
    network: VariantNetwork

    def __init__(self, config: DaganConfig | None = None) -> None:
        self.config = config or DaganConfig()
        self.network = VariantNetwork(self.config.noise, self.config.width)

    def sample(self, images: Tensor, generator: Generator) -> DaganParams:
        """Draw noise for each image of a batch ``[B, 3, H, W]``, and which of them become variants."""
        noise = torch.randn(len(images), self.config.noise, generator=generator)
        return DaganParams(noise, torch.rand(len(images), generator=generator) < self.config.probability)

    @torch.no_grad()
    def apply(self, images: Tensor, params: DaganParams) -> Tensor:
        """A new batch ``[B, 3, H, W]``, uint8 or float in [0, 1]; the other images stay the same to the bit."""
        rows = params.applied.nonzero().squeeze(1)
        pixels = as_floats(images[rows.to(images.device)]).float()
        variants = self.network.to(images.device)(pixels, params.noise[rows].to(images.device))
        if not images.is_floating_point():
            variants = variants.mul_(255).round_()
        return images.index_copy(0, rows.to(images.device), variants.to(images.dtype))
