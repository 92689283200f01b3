"""Random affine transformations, the baseline for learned ones."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.spatial.affine import AffineBounds, AffineParams, Padding, apply_affine, compose


@AUGMENTATIONS.register(
    "random_affine", reference="Simard et al., Best Practices for Convolutional Neural Networks, ICDAR 2003."
)
@dataclass(frozen=True)
class RandomAffine(OnBatch):
    """Rotates by up to 15 degrees, scales by up to 1.2, and shifts by up to 20 % of the side.

    Rotation, scale, shear and translation are sampled uniformly within their bounds. Scales are uniform in the
    logarithm.

    Attributes:
        bounds: bounds of the parameters.
        probability: probability of transforming an image.
        padding: pixels outside the image: its reflection, or zeros.

    Example:
        >>> import torch
        >>> from afield.augment import RandomAffine
        >>> images = torch.rand(2, 3, 32, 32)
        >>> augment = RandomAffine()
        >>> params = augment.sample(images, torch.Generator().manual_seed(0))
        >>> augment.apply(images, params).shape
        torch.Size([2, 3, 32, 32])
    """

    bounds: AffineBounds = field(default_factory=lambda: AffineBounds(15.0, 1.2, 0.0, 0.2))
    probability: float = 1.0
    padding: Padding = "reflection"

    def sample(self, images: Tensor, generator: Generator) -> AffineParams:
        """Sample a transformation for each image."""
        count = len(images)
        drawn = 2 * torch.rand(count, 6, generator=generator) - 1
        applied = torch.rand(count, generator=generator) < self.probability
        return AffineParams(compose(drawn * self.bounds.limits()), applied)

    def apply(self, images: Tensor, params: AffineParams) -> Tensor:
        """See `afield.augment.spatial.affine.apply_affine`."""
        return apply_affine(images, params, self.padding)
