"""Averages of weights in steps that can be followed by hand."""

from __future__ import annotations

import torch


def stepped(averaging, steps: int) -> list[torch.Tensor]:
    """Add 1 to the head's bias at every step; the bias that predicts after each."""
    found = []
    for done in range(1, steps + 1):
        averaging.classifier.objective.head.bias.data += 1
        averaging.end_step(done, steps, lambda: 0.0)
        found.append(averaging.predictor().objective.head.bias.detach().clone())
    return found
