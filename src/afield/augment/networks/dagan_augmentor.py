"""Augmentation by a generator of image variants, trained on pairs of images of a class (DAGAN)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import OnBatch
from afield.augment.networks.network_file import NetworkAugmentation
from afield.augment.networks.variants import VariantNetwork
from afield.augment.params import UNTOUCHED, PerImage
from afield.errors import InputError
from afield.pixels import as_floats
from afield.validation import Checked, setting


@dataclass(frozen=True)
class DaganConfig(Checked):
    """Settings of a `DaganAugmentor`.

    Attributes:
        noise: number of random values for each image.
        width: number of channels of the network at full resolution, a multiple of 4.
        probability: probability of replacing an image by a variant.

    Raises:
        InputError: if a value is out of range.
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
    """Normal ``noise`` ``[B, Z]``, and ``applied`` ``[B]``: whether each image is replaced by a variant."""

    noise: Tensor
    applied: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return "a variant" if self.applied[index] else UNTOUCHED


class DaganAugmentor(OnBatch, NetworkAugmentation):
    """Learned augmentation that generates class-preserving variants of images of any height and width.

    `afield.augment.learned.learn_dagan` trains it. After training, it is used like any other augmentation.

    Args:
        config: see `DaganConfig`.

    Attributes:
        network: the trained `nn.Module`. It is moved to the device of the images.

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
        """Sample noise for each image of a batch ``[B, 3, H, W]``, and whether it is replaced by a variant."""
        noise = torch.randn(len(images), self.config.noise, generator=generator)
        return DaganParams(noise, torch.rand(len(images), generator=generator) < self.config.probability)

    @torch.no_grad()
    def apply(self, images: Tensor, params: DaganParams) -> Tensor:
        """Replace the selected images; returns a new batch ``[B, 3, H, W]`` in which the others are unchanged."""
        rows = params.applied.nonzero().squeeze(1)
        pixels = as_floats(images[rows.to(images.device)]).float()
        variants = self.network.to(images.device)(pixels, params.noise[rows].to(images.device))
        if not images.is_floating_point():
            variants = variants.mul_(255).round_()
        return images.index_copy(0, rows.to(images.device), variants.to(images.dtype))
