"""AugMix: a mixture of the image and of chains of operations on it."""

from __future__ import annotations

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
    """A mixture for each image.

    Attributes:
        share: of the image itself and of each chain, ``[B, 1 + width]``, sums to 1.
        kind: operations of all chains, ``[B, width * 3]``; shorter chains end with identities.
        magnitude: of these, see `Draws`.
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
        return " + ".join([f"{own:.0f} % itself", *chains])


@AUGMENTATIONS.register("augmix", reference="Hendrycks et al., AugMix, ICLR 2020.")
@dataclass(frozen=True)
class AugMix(Checked, OnBatch):
    """A mixture of the image and three chains of operations on it.

    Chains of one to three operations, mixed with each other and with the image in drawn shares.

    Attributes:
        severity: number of bins, of 10, that magnitudes are drawn from, from the weakest on.
        width: chains.
        alpha: of the Dirichlet and Beta distributions that the shares are drawn from.

    References:
        Hendrycks et al., "AugMix", ICLR 2020, algorithm 1, without the consistency loss; ranges, bilinear
        interpolation and all thirteen operations as in torchvision.
    """

    severity: int = setting(3, low=1, high=10)
    width: int = setting(3, low=1, high=100)
    alpha: float = setting(1.0, low=1e-6, high=1e6)

    def sample(self, images: Tensor, generator: Generator) -> MixtureDraws:
        """Draw shares and chains for each image."""
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
        """The mixture, in the dtype of the images; uint8 is cut to whole numbers."""
        share = params.share.to(images.device)[..., None, None, None]
        mixed = share[:, 0] * images
        for index in range(self.width):
            mixed += share[:, 1 + index] * apply_draws(images, params.chain(index), "bilinear")
        return mixed.clamp_(0, 255 if images.dtype == torch.uint8 else 1).to(images.dtype)
