"""Partial FC: a margin head that trains on a sample of its classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.heads.angular import Gradient
from afield.heads.combined import CombinedMarginHead
from afield.heads.kernel import split_cosines
from afield.heads.registry import HEADS
from afield.target_split import TargetSplit
from afield.validation import check_within


@HEADS.register("partial_fc", reference="An et al., Partial FC, CVPR 2022.")
class PartialFCHead(CombinedMarginHead):
    """Margins on a sample of the classes, for very many of them.

    `CombinedMarginHead` whose training step uses the batch's own classes and a random sample of the others.

    For so many classes that ``[B, K]`` logits and a gradient of all class vectors take too much memory or time. The
    gradient of the weight is sparse: it holds the sampled rows, and `afield.training.SparseSGD` and
    `torch.optim.SparseAdam` change only these rows.

    The sum over wrong classes is a sum over the sampled ones, as in the paper; the sample comes from PyTorch's
    global generator. In evaluation mode, and without targets, all classes count.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        share: fraction of the classes that a step uses, in (0, 1]; a batch with more classes uses all of its own.
        scale: a number, ``"auto"`` or ``"learned"``; see `CosineHead`. ``"adaptive"`` would need all cosines.
        margin_multiplier: see `CombinedMarginHead`.
        margin_rad: see `CombinedMarginHead`.
        margin_cos: see `CombinedMarginHead`.
        gradient: see `ArcFaceHead`.
        margin_warmup: steps, see `MarginHead`.

    Raises:
        ValueError: a bad share, scale, margin, warm-up, gradient or number of classes.

    References:
        An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by
        Partial FC", CVPR 2022, section 3.
    """

    scales = ("auto", "learned")
    shown = (*CombinedMarginHead.shown, "share")
    sparse_gradients = True
    data_parallel = False

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        share: float = 0.1,
        scale: float | str = "auto",
        margin_multiplier: float = 1.0,
        margin_rad: float = 0.1,
        margin_cos: float = 0.0,
        gradient: Gradient = "straight_through",
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            scale=scale,
            margin_multiplier=margin_multiplier,
            margin_rad=margin_rad,
            margin_cos=margin_cos,
            gradient=gradient,
            margin_warmup=margin_warmup,
        )
        check_within("(0, 1]", share=share)
        self.share = share

    def sample(self, targets: Tensor) -> Tensor:
        """Class indices ``[B]`` -> the classes that a step uses, ``[S]``, sorted: all targets, and random others."""
        order = torch.rand(self.num_classes, device=targets.device).scatter_(0, targets, 2.0)
        count = max(round(self.share * self.num_classes), int((order == 2).sum()), 2)
        return order.topk(count, sorted=False).indices.sort().values

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """See `CosineHead.target_split`; while training, the others are those of `sample`."""
        if not self.training:
            return super().target_split(features, targets)
        index = self.indices(features, targets)
        classes = self.sample(index)
        rows = F.embedding(classes, self.weight, sparse=True)
        cosine, log_sum, total = split_cosines(features, rows, torch.searchsorted(classes, index), self.scale)
        return TargetSplit(self.scale * self.trained(cosine), log_sum, total / (len(classes) - 1))
