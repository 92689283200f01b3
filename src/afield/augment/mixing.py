"""Mixup and CutMix: each image mixed with a partner from its batch, and their targets in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, MixingAugmentation, fresh
from afield.augment.boxes import Boxes, around
from afield.augment.dirichlet import beta
from afield.augment.params import UNTOUCHED, PerImage


@dataclass(frozen=True)
class Pairs(PerImage):
    """``partner`` ``[B]``: an index in the batch; ``share`` ``[B]``: the fraction of the image itself in it."""

    partner: Tensor
    share: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        percent = 100 * (1 - float(self.share[index]))
        partner = f"{percent:.0f} % of image {int(self.partner[index])}"
        return f"{100 - percent:.0f} % itself, {partner}" if percent else UNTOUCHED


@dataclass(frozen=True)
class CutPairs(Boxes, Pairs):
    """`Pairs`, and the box that shows the partner."""

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        percent = 100 * (1 - float(self.share[index]))
        partner = int(self.partner[index])
        return f"{percent:.0f} % of image {partner}: box of {self.place(index)}" if percent else UNTOUCHED


class Mixing(MixingAugmentation):
    """Base of augmentations that mix images and targets. Parameters are valid for the whole batch only."""

    def mix_targets(self, targets: Tensor, params: Pairs, num_classes: int) -> Tensor:
        """Class indices ``[B]`` or probabilities ``[B, K]`` -> probabilities ``[B, K]``, float32 or wider."""
        if not targets.is_floating_point():
            targets = F.one_hot(targets, num_classes).float()
        share = params.share.to(targets.device, targets.dtype)[:, None]
        return targets * share + targets[params.partner.to(targets.device)] * (1 - share)

    def __call__(
        self, images: Tensor, targets: Tensor, num_classes: int, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """A batch ``[B, 3, H, W]`` and its targets -> the mixed batch and its soft targets ``[B, K]``.

        A CPU `generator` makes it repeatable; without one each call draws from a seed of the operating system.
        """
        params = self.sample(images, generator or fresh())
        return self.apply(images, params), self.mix_targets(targets, params, num_classes)


@AUGMENTATIONS.register("mixup", reference="Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.")
@dataclass(frozen=True)
class Mixup(Mixing):
    """Each image and target mixed with a partner's, by Beta(0.2, 0.2).

    ``share * image + (1 - share) * partner``, with a share drawn from Beta(alpha, alpha) for each image.

    Attributes:
        alpha: the larger, the more images are mixed half and half.

    References:
        Zhang et al., "mixup", ICLR 2018 (which draws one share a batch).
    """

    alpha: float = 0.2

    def sample(self, images: Tensor, generator: Generator) -> Pairs:
        """Draw a partner and a share for each image."""
        return Pairs(torch.randperm(len(images), generator=generator), beta(self.alpha, len(images), generator))

    def apply(self, images: Tensor, params: Pairs) -> Tensor:
        """The mixed batch, in the dtype of the images; uint8 is rounded."""
        share = params.share.to(images.device)[:, None, None, None]
        mixed = images[params.partner.to(images.device)] * (1 - share) + images * share
        return mixed.round().to(torch.uint8) if images.dtype == torch.uint8 else mixed.to(images.dtype)


@AUGMENTATIONS.register("cutmix", reference="Yun et al., CutMix, ICCV 2019.")
@dataclass(frozen=True)
class CutMix(Mixing):
    """A rectangle of a partner pasted into each image, the target mixed by area.

    A rectangle of the partner pasted into the image at the same position; the share is the fraction left.

    Attributes:
        alpha: the area is drawn as ``1 - Beta(alpha, alpha)`` of the image, before it is cut at the edges.

    References:
        Yun et al., "CutMix", ICCV 2019 (which draws one box a batch).
    """

    alpha: float = 1.0
    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> CutPairs:
        """Draw a partner and a box for each image."""
        count, (height, width) = len(images), images.shape[2:]
        partner = torch.randperm(count, generator=generator)
        half = 0.5 * (1 - beta(self.alpha, count, generator)).sqrt()
        y = torch.randint(height, (count,), generator=generator)
        x = torch.randint(width, (count,), generator=generator)
        box = around(y, x, (half * height).long(), (half * width).long(), images.shape)
        share = 1 - box.area / (height * width)
        return CutPairs(partner, share, box.top, box.bottom, box.left, box.right)

    def apply(self, images: Tensor, params: CutPairs) -> Tensor:
        """The batch with the boxes pasted."""
        return torch.where(params.mask(images), images[params.partner.to(images.device)], images)
