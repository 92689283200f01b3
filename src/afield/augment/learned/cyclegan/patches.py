"""A discriminator of real and translated patches of images."""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Maps images ``[B, 3, H, W]`` of 8 px or more, in [0, 1], to scores ``[B, h, w]`` of overlapping patches.

    A patch has 26 x 26 pixels, and the patches are 4 pixels apart. Instance normalization keeps images apart.

    References:
        Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
        2017, section 4 and appendix 7.2 (PatchGAN), with one downsampling step less and a small width.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False),
            nn.InstanceNorm2d(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.layers(2 * images - 1).squeeze(1)
