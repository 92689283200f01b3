"""A plain network of two convolutions without normalization, for small images."""

from torch import Tensor, nn


class LeNet(nn.Module):
    """Two convolutions with pooling and a hidden layer: images ``[B, 3, H, W]`` -> features ``[B, 128]``.

    Without normalization, activations depend on the contrast of an image alone, not on the statistics of the training
    domains.

    References:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with the widths of Ganin et al.,
        "Domain-Adversarial Training of Neural Networks", JMLR 2016, figure 4a. Here, average pooling to 4 x 4 makes
        the size of the images free, and there is one hidden layer.
    """

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = [{"module": "stages.0", "num_chs": 32}, {"module": "stages.1", "num_chs": 48}]
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(32, 48, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        )
        pool = nn.AdaptiveAvgPool2d(4)
        self.hidden = nn.Sequential(pool, nn.Flatten(), nn.Linear(48 * 16, self.num_features), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` -> features ``[B, 128]``."""
        return self.hidden(self.stages(images))
