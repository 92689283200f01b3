"""BADGE: k-means++ on gradient embeddings, which are never written out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.labeling.distances import squared_norms
from afield.labeling.kmeans import drawn
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("badge", reference="Ash et al., Deep Batch Active Learning by Diverse Gradients, ICLR 2020.")
def badge(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Draws diverse images of large gradient: k-means++ on the gradients of the last layer.

    The embedding of an image, ``[K D]``, is the outer product of `class_gradients` and features. Products of
    embeddings are products of their factors, so that memory grows with ``K + D``. The first image has the largest
    gradient, as in the published code.

    References:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, ICLR 2020, algorithm 1 and equation 1.
    """
    available = pool.available.nonzero().squeeze(1)
    features = pool.features if len(available) == len(pool) else pool.features[available]
    gradients = class_gradients(pool.logits[available])
    norms = gradients.square().sum(dim=1) * squared_norms(features)
    chosen = [int(norms.argmax())]
    nearest = torch.full_like(norms, torch.inf)
    while len(chosen) < count:
        last = chosen[-1]
        products = (gradients @ gradients[last]) * (features @ features[last])
        nearest = torch.minimum(nearest, (norms + norms[last] - 2 * products).clamp_(min=0))
        nearest[chosen] = 0
        scores = nearest if nearest.any() else torch.ones_like(nearest).index_fill_(0, torch.tensor(chosen), 0)
        chosen.append(drawn(scores, generator))
    return available[torch.tensor(chosen)]


def class_gradients(logits: Tensor) -> Tensor:
    """The gradient of cross-entropy by the logits, if the predicted class were the true one: ``[N, K]`` -> ``[N, K]``.

    ``g_k = p_k - [k = argmax p]``.
    """
    probabilities = logits.softmax(dim=1)
    return probabilities - F.one_hot(probabilities.argmax(dim=1), logits.shape[1])
