"""Mixup and CutMix, which mix each image and its target with a partner from the batch."""

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
    """The index ``partner`` ``[B]`` of another image in the batch, and the weight ``share`` ``[B]`` of the image."""

    partner: Tensor
    share: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        percent = 100 * (1 - float(self.share[index]))
        partner = f"{percent:.0f} % of image {int(self.partner[index])}"
        return f"{100 - percent:.0f} % original, {partner}" if percent else UNTOUCHED


@dataclass(frozen=True)
class CutPairs(Boxes, Pairs):
    """`Pairs` with the box that is replaced by the partner."""

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        percent = 100 * (1 - float(self.share[index]))
        partner = int(self.partner[index])
        return f"{percent:.0f} % of image {partner}: box of {self.place(index)}" if percent else UNTOUCHED


class Mixing(MixingAugmentation):
    """Base class of augmentations that mix images and targets. Parameters are valid only for the whole batch."""

    def mix_targets(self, targets: Tensor, params: Pairs, num_classes: int) -> Tensor:
        """Mix targets: class indices ``[B]`` or probabilities ``[B, K]`` -> probabilities ``[B, K]``.

        The result is float32, or the dtype of the probabilities.
        """
        if not targets.is_floating_point():
            targets = F.one_hot(targets, num_classes).float()
        share = params.share.to(targets.device, targets.dtype)[:, None]
        return targets * share + targets[params.partner.to(targets.device)] * (1 - share)

    def __call__(
        self, images: Tensor, targets: Tensor, num_classes: int, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch ``[B, 3, H, W]`` and its targets; returns the mixed batch and soft targets ``[B, K]``.

        With a CPU `generator`, the result is reproducible. Without it, each call uses a new seed from the operating
        system.
        """
        params = self.sample(images, generator or fresh())
        return self.apply(images, params), self.mix_targets(targets, params, num_classes)


@AUGMENTATIONS.register("mixup", reference="Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.")
@dataclass(frozen=True)
class Mixup(Mixing):
    """Mixes each image and its target with those of a partner, with weights from Beta(0.2, 0.2).

    The result is ``share * image + (1 - share) * partner``, where the share is sampled from Beta(alpha, alpha) for each
    image.

    Attributes:
        alpha: parameter of the Beta distribution. Larger values give shares closer to 0.5.

    References:
        Zhang et al., "mixup", ICLR 2018 (with one share for each batch).
    """

    alpha: float = 0.2

    def sample(self, images: Tensor, generator: Generator) -> Pairs:
        """Sample a partner and a share for each image."""
        return Pairs(torch.randperm(len(images), generator=generator), beta(self.alpha, len(images), generator))

    def apply(self, images: Tensor, params: Pairs) -> Tensor:
        """Mix the batch, in the dtype of the images; uint8 is rounded."""
        share = params.share.to(images.device)[:, None, None, None]
        mixed = images[params.partner.to(images.device)] * (1 - share) + images * share
        return mixed.round().to(torch.uint8) if images.dtype == torch.uint8 else mixed.to(images.dtype)


@AUGMENTATIONS.register("cutmix", reference="Yun et al., CutMix, ICCV 2019.")
@dataclass(frozen=True)
class CutMix(Mixing):
    """Pastes a rectangle of a partner into each image, and mixes the targets by area.

    The position of the rectangle is the same in both images. The share is the fraction of the image that remains.

    Attributes:
        alpha: parameter of the Beta distribution. The area of the rectangle is ``1 - Beta(alpha, alpha)`` of the image
            area, before it is clipped to the image.

    References:
        Yun et al., "CutMix", ICCV 2019 (with one box for each batch).
    """

    alpha: float = 1.0
    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> CutPairs:
        """Sample a partner and a box for each image."""
        count, (height, width) = len(images), images.shape[2:]
        partner = torch.randperm(count, generator=generator)
        half = 0.5 * (1 - beta(self.alpha, count, generator)).sqrt()
        y = torch.randint(height, (count,), generator=generator)
        x = torch.randint(width, (count,), generator=generator)
        box = around(y, x, (half * height).long(), (half * width).long(), images.shape)
        share = 1 - box.area / (height * width)
        return CutPairs(partner, share, box.top, box.bottom, box.left, box.right)

    def apply(self, images: Tensor, params: CutPairs) -> Tensor:
        """Paste the boxes into the batch."""
        return torch.where(params.mask(images), images[params.partner.to(images.device)], images)
