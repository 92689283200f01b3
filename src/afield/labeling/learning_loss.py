"""Learning loss: a small module predicts the loss of each image; the images with the largest losses are chosen."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afield.errors import InputError
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


class LossPrediction(nn.Module):
    """Feature maps of several stages of a backbone -> a predicted loss for each image.

    Each stage applies a mean over the pixels, a linear layer and ReLU. A final linear layer maps the outputs of all
    stages to one number.

    Args:
        channels: number of channels of each stage.
        width: output size of the linear layer of each stage.

    References:
        Yoo and Kweon, "Learning loss for active learning", CVPR 2019, section 3.2 and figure 2b.
    """

    def __init__(self, channels: Sequence[int], *, width: int = 128) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(count, width) for count in channels)
        self.last = nn.Linear(width * len(self.stages), 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps ``[B, C, H, W]`` or features ``[B, C]`` of each stage -> predicted losses ``[B]``."""
        means = [each.flatten(2).mean(dim=2) if each.ndim > 2 else each for each in maps]
        hidden = [stage(mean).relu() for stage, mean in zip(self.stages, means, strict=True)]
        return self.last(torch.cat(hidden, dim=1)).squeeze(1)


def ranking_loss(predicted: Tensor, losses: Tensor, *, margin: float = 1.0) -> Tensor:
    """A hinge loss on the order of predicted losses within pairs of images.

    ``max(0, margin - sign(l_i - l_j) (p_i - p_j))`` for the pairs ``(i, B - 1 - i)`` of a batch.

    Args:
        predicted: predicted losses ``[B]``; B must be even.
        losses: true losses ``[B]``, without gradient.
        margin: required difference between the two predictions.

    Returns:
        one value per pair, ``[B / 2]``.

    Raises:
        ValueError: if the number of images is odd.

    Example:
        >>> ranking_loss(torch.tensor([0.0, 2.0, 0.5, 3.0]), torch.tensor([1.0, 2.0, 5.0, 4.0]))
        tensor([0.0000, 2.5000])

    References:
        Yoo and Kweon, CVPR 2019, equation 2. If two losses are equal, the second one counts as larger, as in common
        code.
    """
    if len(predicted) % 2:
        raise ValueError(f"the ranking loss needs pairs of images, got {len(predicted)} images")
    half = len(predicted) // 2
    differences, true = ((values - values.flip(0))[:half] for values in (predicted, losses.detach()))
    return (margin - torch.where(true > 0, differences, -differences)).clamp(min=0)


@STRATEGIES.register("learning_loss", reference="Yoo and Kweon, Learning Loss for Active Learning, CVPR 2019.")
def learning_loss(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the images with the largest predicted loss.

    Raises:
        InputError: if the pool has no predicted losses.
    """
    if pool.predicted_losses is None:
        raise InputError("strategy learning_loss needs Pool(predicted_losses=...), from a trained LossPrediction")
    return pool.highest(pool.predicted_losses, count)
