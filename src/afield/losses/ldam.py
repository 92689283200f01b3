"""LDAM: a margin on the target's logit that is larger for classes with fewer training images."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.distributions import Uniform
from afield.losses.class_counts import present
from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import counted, prepare, settle
from afield.validation import check_within


@LOSSES.register(
    "ldam",
    reference="Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019.",
)
def ldam(
    logits: Tensor,
    targets: Tensor,
    *,
    largest_margin: Annotated[float, Uniform(0.1, 1)] = 0.5,
    scale: float = 30.0,
    counts: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy with a margin that is larger for classes with fewer images.

    It is the cross-entropy of the logits after ``z_y - s m_y``, with the margin ``m_k = C / n_k^(1/4)`` of the target
    class. ``C`` gives the smallest class the margin `largest_margin`. The paper writes ``s (cos - m)``: its logits are
    cosines, those of `afield.heads.CosineHead` are already multiplied by the scale ``s``.

    Args:
        logits: logits ``[B, K]``: the cosines times `scale`.
        targets: class indices ``[B]``.
        largest_margin: margin of the class with the fewest images, at least 0.
        scale: ``s``, scale of the head, above 0. For a linear head, 1 makes the margin one of logits.
        counts: number of training images of each class, ``[K]``; see `afield.losses.class_counts`.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if the margin or the scale is out of range, or a shape does not fit.

    References:
        Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019, equations 12
        and 13.
    """
    check_within("[0, inf)", largest_margin=largest_margin)
    check_within("(0, inf)", scale=scale)
    z, t, w = prepare("ldam", logits, targets, weight, ignore_index, soft=False)
    margins = present("ldam", counts, z) ** -0.25
    margins = scale * largest_margin * margins / margins.max()
    index = counted(t, ignore_index)
    z = z - torch.zeros_like(z).scatter(1, index[:, None], margins[index][:, None])
    values = F.cross_entropy(z, t, ignore_index=ignore_index, reduction="none")
    return settle(values, logits, t, w, ignore_index)


class LDAM(Criterion, loss=ldam):
    """LDAM with the options `counts`, `largest_margin` and `scale`; see `afield.losses.ldam`."""
