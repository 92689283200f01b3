"""The critic of image pairs and its loss, a Wasserstein distance with gradient penalty."""

import torch
from torch import Generator, Tensor, nn

from afield.augment.learned.discriminator import Discriminator


class Critic(nn.Module):
    """Maps two batches ``[B, 3, H, W]`` in [0, 1] to scores ``[B]``, high for two real images of the same class.

    References:
        Antoniou et al., "Data Augmentation Generative Adversarial Networks", 2017, section 4, with a small width.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Discriminator(channels=6)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """See the class."""
        return self.network(torch.cat([images, others], dim=1))


def critic_gap(critic: nn.Module, images: Tensor, partners: Tensor, variants: Tensor) -> Tensor:
    """The mean difference between the critic's scores of partners and of variants, a scalar: the estimated distance."""
    return (critic(images, partners).float() - critic(images, variants).float()).mean()


def gradient_penalty(
    critic: nn.Module, images: Tensor, partners: Tensor, variants: Tensor, generator: Generator
) -> Tensor:
    """The mean of ``(|gradient| - 1)^2``, a scalar, for the gradient with respect to the second image.

    The second image is a random interpolation, uniform for each image, between partner and variant. All images are
    ``[B, 3, H, W]``.

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3.
    """
    share = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device)
    between = torch.lerp(partners, variants.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images, between).float().sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
