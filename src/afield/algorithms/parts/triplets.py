"""The triplet loss with semi-hard negatives."""

import torch
from torch import Tensor


def semi_hard_triplets(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """The triplet loss ``max(0, margin + d(anchor, positive) - d(anchor, negative))``, averaged over all pairs.

    ``d`` is the squared distance. Each ordered pair of examples of one class is an anchor and a positive. The negative
    is the nearest one that is farther from the anchor than the positive, or the farthest one if there is none.

    Args:
        embeddings: embeddings ``[B, D]``.
        labels: class indices ``[B]``.
        margin: margin, in squared distance.

    Returns:
        A scalar; 0 if no pair has a negative.

    References:
        Schroff et al., "FaceNet", CVPR 2015, section 3.2.
    """
    norms = embeddings.square().sum(dim=1)
    distances = (norms[:, None] + norms - 2 * embeddings @ embeddings.T).clamp(min=0)
    same = labels[:, None] == labels
    counts = (~same).sum(dim=1, keepdim=True)
    negatives = distances.masked_fill(same, torch.inf).sort(dim=1).values
    farther = torch.searchsorted(negatives.detach(), distances.detach(), right=True)
    chosen = negatives.gather(1, farther.minimum(counts - 1).clamp(min=0))
    pairs = same & (counts > 0) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    losses = (margin + distances - chosen)[pairs].relu()
    return losses.sum() / max(len(losses), 1)
