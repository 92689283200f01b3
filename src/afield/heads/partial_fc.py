"""Partial FC: a margin head that samples its classes during training."""

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
    """Margin head that samples the classes at each training step, for very many classes.

    It is a `CombinedMarginHead`. Each training step uses the classes of the batch and a random sample of the other
    classes. This saves memory and time if there are too many classes for ``[B, K]`` logits and for a gradient of all
    class vectors. The gradient of the weight is sparse and contains the sampled rows only.
    `afield.training.SparseSGD` and `torch.optim.SparseAdam` update only these rows.

    As in the paper, the sum over wrong classes is a sum over the sampled classes. PyTorch's global generator draws the
    sample. In evaluation mode, and without targets, all classes are used.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        share: fraction of the classes that each step uses, in (0, 1]. All classes of the batch are always used.
        scale: a number, ``"auto"`` or ``"learned"``; see `CosineHead`. ``"adaptive"`` is not supported, because it
            needs all cosines.
        margin_multiplier: see `CombinedMarginHead`.
        margin_rad: see `CombinedMarginHead`.
        margin_cos: see `CombinedMarginHead`.
        gradient: see `ArcFaceHead`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

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
        """Class indices ``[B]`` -> sorted classes of a step, ``[S]``: all targets and randomly drawn other classes."""
        order = torch.rand(self.num_classes, device=targets.device).scatter_(0, targets, 2.0)
        count = max(round(self.share * self.num_classes), int((order == 2).sum()), 2)
        return order.topk(count, sorted=False).indices.sort().values

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """See `CosineHead.target_split`. During training, only the classes from `sample` are used."""
        if not self.training:
            return super().target_split(features, targets)
        index = self.indices(features, targets)
        classes = self.sample(index)
        rows = F.embedding(classes, self.weight, sparse=True)
        cosine, log_sum, total = split_cosines(features, rows, torch.searchsorted(classes, index), self.scale)
        return TargetSplit(self.scale * self.trained(cosine), log_sum, total / (len(classes) - 1))
