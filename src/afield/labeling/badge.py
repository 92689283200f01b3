"""BADGE: k-means++ on gradient embeddings, which are never computed explicitly."""

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.labeling.distances import FeatureRows, blocks, squared_norms
from afield.labeling.kmeans import drawn
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("badge", reference="Ash et al., Deep Batch Active Learning by Diverse Gradients, ICLR 2020.")
def badge(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Draws diverse images with large gradients: k-means++ on the gradients of the last layer.

    The embedding of an image, ``[K D]``, is the outer product of its `class_gradients` and its features. The inner
    product of two embeddings is the product of the inner products of their factors, so that memory grows with ``K + D``
    only. The first image is the one with the largest gradient, as in the published code.

    References:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, ICLR 2020, algorithm 1 and equation 1.
    """
    available = pool.available.nonzero().squeeze(1)
    features = FeatureRows(pool.features, available if len(available) < len(pool) else None)
    gradients = class_gradients(pool.logits[available])
    norms = gradients.square().sum(dim=1) * squared_norms(features)
    chosen = [int(norms.argmax())]
    nearest = torch.full_like(norms, torch.inf)
    while len(chosen) < count:
        last = chosen[-1]
        row = features[torch.tensor(last)]
        products = torch.cat([features[rows] @ row for rows in blocks(len(features))]) * (gradients @ gradients[last])
        nearest = torch.minimum(nearest, (norms + norms[last] - 2 * products).clamp_(min=0))
        nearest[chosen] = 0
        scores = nearest if nearest.any() else torch.ones_like(nearest).index_fill_(0, torch.tensor(chosen), 0)
        chosen.append(drawn(scores, generator))
    return available[torch.tensor(chosen)]


def class_gradients(logits: Tensor) -> Tensor:
    """The logit gradient of cross-entropy with the predicted class as the target: ``[N, K]`` -> ``[N, K]``.

    ``g_k = p_k - [k = argmax p]``.
    """
    probabilities = logits.softmax(dim=1)
    return probabilities - F.one_hot(probabilities.argmax(dim=1), logits.shape[1])
