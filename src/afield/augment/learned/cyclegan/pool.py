"""A pool of earlier translations, which a discriminator sees beside the latest ones."""

import torch
from torch import Generator, Tensor, nn


class ImagePool(nn.Module):
    """Stores up to `size` images. Its state is in the state dict.

    Args:
        size: largest number of images; 0 stores none.

    References:
        Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017,
        section 2.3, in the form of CycleGAN's code.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.images = torch.empty(0)

    def exchange(self, images: Tensor, generator: Generator) -> Tensor:
        """Put images ``[B, 3, H, W]`` into the pool one after the other, and return an image for each of them.

        While the pool is not full, an image is stored and returned. After that, with probability 0.5 it is returned and
        not stored; otherwise it takes the place of a random stored image, which is returned.
        """
        if not self.size:
            return images
        stored = list(self.images.to(images.device))
        returned = []
        for image in images:
            if len(stored) < self.size:
                stored.append(image)
            elif torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=generator))
                stored[place], image = image, stored[place]
            returned.append(image)
        self.images = torch.stack(stored)
        return torch.stack(returned)

    def get_extra_state(self) -> Tensor:
        """The stored images ``[N, 3, H, W]``, N at most the size."""
        return self.images

    def set_extra_state(self, state: Tensor) -> None:
        """Replace the stored images."""
        self.images = state
