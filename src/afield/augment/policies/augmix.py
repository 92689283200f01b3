"""AugMix, which mixes an image with augmented versions of itself."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.dirichlet import dirichlet
from afield.augment.params import PerImage
from afield.augment.policies.magnitudes import WIDE_KINDS, draws_of, magnitudes
from afield.augment.policies.operations import Draws, apply_draws, describe, kind
from afield.validation import Checked, setting

DEPTH = 3


@dataclass(frozen=True)
class MixtureDraws(PerImage):
    """The parameters of a mixture for each image.

    Attributes:
        share: weights of the image and of each chain, ``[B, 1 + width]``; they sum to 1.
        kind: operations of all chains, ``[B, width * 3]``. Shorter chains are padded with the identity.
        magnitude: magnitudes of the operations, see `Draws`.
    """

    share: Tensor
    kind: Tensor
    magnitude: Tensor

    def chain(self, number: int) -> Draws:
        """The operations of one chain."""
        return Draws(self.kind, self.magnitude).steps(number * DEPTH, (number + 1) * DEPTH)

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        own, *shares = (100 * share for share in self.share[index].tolist())
        chains = [f"{share:.0f} % ({describe(self.chain(i), index)})" for i, share in enumerate(shares)]
        return " + ".join([f"{own:.0f} % original", *chains])


@AUGMENTATIONS.register("augmix", reference="Hendrycks et al., AugMix, ICLR 2020.")
@dataclass(frozen=True)
class AugMix(Checked, OnBatch):
    """Mixes each image with three augmented versions of itself.

    Each version is the result of a chain of one to three operations. The weights of the mixture are random.

    Attributes:
        severity: number of magnitude bins to sample from, starting with the weakest; at most 10.
        width: number of chains.
        alpha: parameter of the Dirichlet and Beta distributions of the weights.

    References:
        Hendrycks et al., "AugMix", ICLR 2020, algorithm 1, without the consistency loss; ranges, bilinear
        interpolation and all thirteen operations as in torchvision.
    """

    severity: int = setting(3, low=1, high=10)
    width: int = setting(3, low=1, high=100)
    alpha: float = setting(1.0, low=1e-6, high=1e6)

    def sample(self, images: Tensor, generator: Generator) -> MixtureDraws:
        """Sample weights and chains for each image."""
        count, (height, width) = len(images), images.shape[2:]
        kinds = torch.randint(1, len(WIDE_KINDS), (count, self.width, DEPTH), generator=generator)
        depth = torch.randint(1, DEPTH + 1, (count, self.width, 1), generator=generator)
        kinds = torch.where(torch.arange(DEPTH) < depth, kinds, kind("identity")).flatten(1)
        level = torch.randint(self.severity, kinds.shape, generator=generator)
        reach = (width / 3.0, height / 3.0)
        space = magnitudes(10, shear=0.3, translate=reach, rotate=30.0, factor=0.9, bits=(4, 4))
        draws = draws_of(kinds, level, space, generator)
        of_image = dirichlet([self.alpha, self.alpha], count, generator)
        of_chains = dirichlet([self.alpha] * self.width, count, generator) * of_image[:, 1:]
        return MixtureDraws(torch.cat([of_image[:, :1], of_chains], dim=1), draws.kind, draws.magnitude)

    def apply(self, images: Tensor, params: MixtureDraws) -> Tensor:
        """Compute the mixture in the dtype of the images; uint8 is truncated to integers."""
        share = params.share.to(images.device)[..., None, None, None]
        mixed = share[:, 0] * images
        for index in range(self.width):
            mixed += share[:, 1 + index] * apply_draws(images, params.chain(index), "bilinear")
        return mixed.clamp_(0, 255 if images.dtype == torch.uint8 else 1).to(images.dtype)
