"""A network that tells the training domains from the new place, and the loss that it and the backbone play for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.reversal import scaled_gradient


class Discriminator(nn.Module):
    """Inputs ``[B, D]`` -> logits ``[B]``, positive for the training domains: two hidden layers with dropout.

    Args:
        inputs: D.
        hidden: units of each hidden layer.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        first = (nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5))
        second = (nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5))
        self.layers = nn.Sequential(*first, *second, nn.Linear(hidden, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return self.layers(inputs).squeeze(1)

    def losses(self, source: Tensor, target: Tensor, reversal: float) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy of each row, ``[B]`` of the training domains and ``[B]`` of the new place.

        The gradient that goes back to `source` and `target` is reversed and multiplied by `reversal`: the
        discriminator descends the loss, whatever made its inputs climbs it.
        """
        logits = self(scaled_gradient(torch.cat([source, target]), -reversal))
        of_source, of_target = logits.split([len(source), len(target)])
        return F.softplus(-of_source), F.softplus(of_target)
