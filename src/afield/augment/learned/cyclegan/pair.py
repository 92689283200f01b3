"""The networks of a CycleGAN for two classes A and B, and their losses."""

import torch
from torch import Generator, Tensor, nn

from afield.augment import Translator, TranslatorConfig
from afield.augment.learned.cyclegan.patches import PatchDiscriminator
from afield.augment.learned.cyclegan.pool import ImagePool


class Pair(nn.Module):
    """Translators between A and B, and a discriminator of each class with its pool.

    Args:
        to_b: translator from A to B, images ``[B, 3, H, W]`` in [0, 1] -> the same.
        config: size of the translator from B to A.
        pool: number of images in each pool.

    References:
        Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
        2017.
    """

    def __init__(self, to_b: nn.Module, config: TranslatorConfig, pool: int) -> None:
        super().__init__()
        self.to_b, self.to_a = to_b, Translator(config)
        self.discriminator_a, self.discriminator_b = PatchDiscriminator(), PatchDiscriminator()
        self.pool_a, self.pool_b = ImagePool(pool), ImagePool(pool)

    @property
    def translators(self) -> list[nn.Parameter]:
        """The parameters of both translators."""
        return [*self.to_b.parameters(), *self.to_a.parameters()]

    @property
    def discriminators(self) -> list[nn.Parameter]:
        """The parameters of both discriminators."""
        return [*self.discriminator_a.parameters(), *self.discriminator_b.parameters()]

    def translator_loss(
        self, a: Tensor, b: Tensor, *, cycle_weight: float, identity_weight: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The loss of both translators, a scalar, and the translations to A and to B.

        For the translator G from A to B, the loss is ``(D_B(G(a)) - 1)^2``, plus its weight times the cycle consistency
        ``|F(G(a)) - a|`` for the other translator F, plus its weight times the identity loss ``|G(b) - b|``; for F, the
        same with A and B exchanged. The images are ``[B, 3, H, W]`` in [0, 1].

        References:
            Zhu et al., ICCV 2017, equation 3 and section 5.2 (identity loss), with the least squares of section 4.
        """
        fake_b, same_b = self.to_b(torch.cat([a, b])).split([len(a), len(b)])
        fake_a, same_a = self.to_a(torch.cat([b, a])).split([len(b), len(a)])
        scores_b, scores_a = self.discriminator_b(fake_b), self.discriminator_a(fake_a)
        adversarial = least_squares(scores_b, 1.0) + least_squares(scores_a, 1.0)
        cycle = pixel_difference(self.to_a(fake_b), a) + pixel_difference(self.to_b(fake_a), b)
        identity = pixel_difference(same_b, b) + pixel_difference(same_a, a)
        return adversarial + cycle_weight * cycle + identity_weight * identity, (fake_a, fake_b)

    def discriminator_loss(self, a: Tensor, b: Tensor, fakes: tuple[Tensor, Tensor], generator: Generator) -> Tensor:
        """The loss of both discriminators, a scalar: ``(D(real) - 1)^2 / 2 + D(fake)^2 / 2`` for each class.

        The translations to A and to B go through the pools, which use the generator. They get no gradient.

        References:
            Zhu et al., ICCV 2017, section 4; the division by 2 slows the discriminators down (appendix 7.1).
        """
        loss_a, loss_b = (
            least_squares(discriminator(real), 1.0)
            + least_squares(discriminator(pool.exchange(fake.detach(), generator)), 0.0)
            for discriminator, pool, real, fake in (
                (self.discriminator_a, self.pool_a, a, fakes[0]),
                (self.discriminator_b, self.pool_b, b, fakes[1]),
            )
        )
        return (loss_a + loss_b) / 2


def least_squares(scores: Tensor, wanted: float) -> Tensor:
    """The mean of ``(score - wanted)^2`` over patches, a scalar.

    References:
        Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.
    """
    return (scores.float() - wanted).square().mean()


def pixel_difference(images: Tensor, others: Tensor) -> Tensor:
    """The mean absolute difference of pixel values in [-1, 1], a scalar, from images ``[B, 3, H, W]`` in [0, 1]."""
    return 2 * (images - others).abs().mean()
