"""A ResNet with eight layers for small images. It is the default backbone and trains on a CPU."""

from torch import Tensor, nn

from afield.models.norms import NORMS, Norm


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, each followed by normalization, and a shortcut.

    As in IBN-Net, `ibn` is used after the first convolution only; batch normalization follows the second.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = NORMS[norm](channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = NORMS["batch" if norm == "ibn" else norm](channels)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, channels, H / stride, W / stride]``."""
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(out + self.shortcut(x))


class ResNet8(nn.Module):
    """A stem, three stages of one block each, and average pooling: images ``[B, 3, H, W]`` -> features ``[B, 4w]``.

    Args:
        width: channels ``w`` of the first stage. The next stages have ``2w`` and ``4w`` channels.
        norm: normalization after the convolutions; `ibn` is half instance and half batch normalization.

    References:
        He et al., "Deep Residual Learning", CVPR 2016, section 4.2, with one block per stage.
    """

    def __init__(self, width: int = 16, norm: Norm = "batch") -> None:
        super().__init__()
        self.num_features = 4 * width
        self.feature_info = [{"module": f"stages.{index}", "num_chs": width * 2**index} for index in range(3)]
        conv = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(conv, NORMS[norm](width), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(
            BasicBlock(width, width, 1, norm),
            BasicBlock(width, 2 * width, 2, norm),
            BasicBlock(2 * width, 4 * width, 2, norm),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` -> features ``[B, num_features]``."""
        return self.pool(self.stages(self.stem(images)))


class PlaneResNet8(nn.Module):
    """A ResNet-8 with two features for plots: images -> ``[B, 2]``."""

    num_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet8(width=16)
        self.plane = nn.Linear(self.backbone.num_features, self.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` -> features ``[B, 2]``."""
        return self.plane(self.backbone(images))
