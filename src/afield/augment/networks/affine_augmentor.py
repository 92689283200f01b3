"""A spatial transformer that selects an affine transformation for each image."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from afield.augment.base import OnBatch
from afield.augment.networks.localization import Localization
from afield.augment.networks.network_file import NetworkAugmentation
from afield.augment.spatial.affine import AffineBounds, AffineParams, Padding, apply_affine, compose
from afield.pixels import as_floats
from afield.validation import Checked, setting

NOISE = 8
FIRST_WIDTH = -2.0
"""Offset of the widths before the sigmoid, so that the initial transformations are small: sigmoid(-2) = 0.12."""


@dataclass(frozen=True)
class AugmentorConfig(Checked):
    """Settings of an `AffineAugmentor`.

    Attributes:
        form: ``bounded`` rotation, scale, shear and translation, or six ``free`` numbers added to the identity matrix.
        draw: how transformations are sampled. ``distribution``: uniformly around a center, with a width, both predicted
            for each image. ``noise``: predicted from the image and random noise. ``point``: always the same for the
            same image, as in the paper.
        bounds: bounds of the bounded form.
        probability: probability of transforming an image.
        padding: pixels outside the image: its reflection, or zeros.

    Raises:
        InputError: if a name is unknown or the probability is outside [0, 1].
    """

    form: Literal["bounded", "free"] = "bounded"
    draw: Literal["distribution", "noise", "point"] = "distribution"
    bounds: AffineBounds = field(default_factory=AffineBounds)
    probability: float = setting(0.5, high=1)
    padding: Padding = "reflection"


@dataclass(frozen=True)
class AffineChoice:
    """The prediction for a batch: parameters are uniform in ``center`` ± ``width``, each ``[B, 6]``.

    In the bounded form, the unit is the bound, so that all parameters lie in [-1, 1]. In the free form, the parameters
    are the entries of the matrix.
    """

    center: Tensor
    width: Tensor


class AffineAugmentor(OnBatch, NetworkAugmentation):
    """Learned augmentation that selects an affine transformation for each image. Initially close to the identity.

    `afield.augment.learned.learn_affine` trains it. After training, it is used like any other augmentation.

    Args:
        config: see `AugmentorConfig`.

    Attributes:
        network: the trained `nn.Module`. It is moved to the device of the images.

    Example:
        >>> import torch
        >>> from afield.augment import AffineAugmentor
        >>> images = torch.rand(2, 3, 32, 32)
        >>> augment = AffineAugmentor()
        >>> augment(images).shape
        torch.Size([2, 3, 32, 32])

    References:
        Learned augmentation, seen as active learning (paper B); Jaderberg et al., "Spatial Transformer Networks",
        NeurIPS 2015.
    """

    kind = "augmentor"
    config_type = AugmentorConfig
    config: AugmentorConfig
    network: Localization

    def __init__(self, config: AugmentorConfig | None = None) -> None:
        self.config = config or AugmentorConfig()
        draw = self.config.draw
        self.network = Localization(12 if draw == "distribution" else 6, NOISE if draw == "noise" else 0)

    def choose(self, images: Tensor, noise: Tensor) -> AffineChoice:
        """Predict the distribution of the parameters from images ``[B, 3, H, W]`` in [0, 1] and `draw_noise`."""
        raw = self.network(images, noise if self.config.draw == "noise" else noise[:, :0])
        center, width = raw[:, :6], torch.zeros_like(raw[:, :6])
        if self.config.draw == "distribution":
            width = (raw[:, 6:] + FIRST_WIDTH).sigmoid()
        if self.config.form == "bounded":
            center = center.tanh() * (1 - width)
        return AffineChoice(center, width)

    def theta(self, choice: AffineChoice, noise: Tensor) -> Tensor:
        """Sample matrices ``[B, 2, 3]`` from the distribution with this noise. The gradient reaches `choice`."""
        numbers = choice.center + choice.width * noise[:, :6]
        if self.config.form == "bounded":
            return compose(numbers * self.config.bounds.limits().to(numbers.device))
        return numbers.view(-1, 2, 3) + torch.eye(2, 3, device=numbers.device)

    def draw_noise(self, count: int, generator: Generator) -> Tensor:
        """Noise uniform in [-1, 1], ``[B, 8]``, on the augmentor's device."""
        return (2 * torch.rand(count, NOISE, generator=generator) - 1).to(self.network.out.weight.device)

    @torch.no_grad()
    def sample(self, images: Tensor, generator: Generator) -> AffineParams:
        """Sample a transformation for each image of a batch ``[B, 3, H, W]``, uint8 or float in [0, 1]."""
        self.network.to(images.device)
        noise = self.draw_noise(len(images), generator)
        theta = self.theta(self.choose(as_floats(images).float(), noise), noise)
        return AffineParams(theta, torch.rand(len(images), generator=generator) < self.config.probability)

    def apply(self, images: Tensor, params: AffineParams) -> Tensor:
        """See `afield.augment.spatial.affine.apply_affine`."""
        return apply_affine(images, params, self.config.padding)
