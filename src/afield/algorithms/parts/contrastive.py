"""The supervised contrastive loss: features of one class are near each other and far from those of other classes."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHORTEST = 0.1
"""Length below which features are not stretched to length 1, so that the gradient stays finite near 0."""


def supervised_contrastive(features: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Minus the log-probability that the neighbor of an example is a given example of its class, averaged.

    The probability is a softmax of the cosine similarities, divided by `temperature`, over all other examples. The
    average is over the other examples of the class, then over the examples that have one.

    Args:
        features: features ``[B, D]``. Those shorter than 0.1 are divided by 0.1 instead of their length.
        targets: class indices ``[B]``.
        temperature: divisor of the similarities.

    Returns:
        A scalar; 0 if no two examples are of the same class.

    References:
        Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2.
    """
    unit = F.normalize(features, eps=SHORTEST)
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    positives = (targets[:, None] == targets) & others
    rows = positives.any(dim=1)
    logits = (unit[rows] @ unit.T / temperature).masked_fill(~others[rows], -torch.inf)
    losses = (logits.logsumexp(dim=1, keepdim=True) - logits).where(positives[rows], 0)
    return (losses.sum(dim=1) / positives[rows].sum(dim=1)).sum() / rows.sum().clamp(min=1)
