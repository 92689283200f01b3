"""A discriminator between the training domains and the new place, and its adversarial loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.parts.reversal import scaled_gradient


def two_hidden_layers(inputs: int, hidden: int) -> tuple[nn.Module, ...]:
    """The modules of two hidden layers with ReLU and dropout, ``[B, inputs]`` -> ``[B, hidden]``."""
    first = (nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5))
    second = (nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5))
    return *first, *second


class Discriminator(nn.Module):
    """Inputs ``[B, D]`` -> logits ``[B]``, positive for the training domains: two hidden layers with dropout.

    Args:
        inputs: D.
        hidden: units in each hidden layer.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*two_hidden_layers(inputs, hidden), nn.Linear(hidden, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return self.layers(inputs).squeeze(1)

    def losses(self, source: Tensor, target: Tensor, reversal: float) -> tuple[Tensor, Tensor]:
        """The binary cross-entropy of each row, ``[B]`` for the training domains and ``[B]`` for the new place.

        The gradient with respect to `source` and `target` is reversed and multiplied by `reversal`: the discriminator
        minimizes the loss; the layers before it maximize the loss.
        """
        logits = self(scaled_gradient(torch.cat([source, target]), -reversal))
        of_source, of_target = logits.split([len(source), len(target)])
        return F.softplus(-of_source), F.softplus(of_target)
