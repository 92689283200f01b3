"""The critic of pairs, and what it minimizes: an improved Wasserstein distance."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from afield.augment.learned.discriminator import Discriminator


class Critic(nn.Module):
    """Two batches of images ``[B, 3, H, W]`` in [0, 1] -> scores ``[B]``, high for two real images of a class.

    References:
        Antoniou et al., "Data Augmentation Generative Adversarial Networks", 2017, section 4, at a small width.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Discriminator(channels=6)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """See the class."""
        return self.network(torch.cat([images, others], dim=1))


def critic_gap(critic: nn.Module, images: Tensor, partners: Tensor, variants: Tensor) -> Tensor:
    """By how much the critic scores partners of the images above their variants, a scalar: the distance it sees."""
    return (critic(images, partners).float() - critic(images, variants).float()).mean()


def gradient_penalty(
    critic: nn.Module, images: Tensor, partners: Tensor, variants: Tensor, generator: Generator
) -> Tensor:
    """``(|gradient| - 1)^2``, averaged, a scalar; the gradient by the second image, between partner and variant.

    The place between them is uniform, drawn for each image. All images are ``[B, 3, H, W]``.

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3.
    """
    share = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device)
    between = torch.lerp(partners, variants.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images, between).float().sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
