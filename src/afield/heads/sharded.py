"""A margin head whose classes are divided among processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from afield.heads.combined import CombinedMarginHead
from afield.heads.cosine import class_vectors
from afield.heads.kernel import split_cosines
from afield.heads.registry import HEADS
from afield.target_split import TargetSplit
from afield.types import IGNORE_INDEX


class ShardedHead(CombinedMarginHead):
    """`CombinedMarginHead` whose processes hold ``K / processes`` class vectors each; none computes all logits.

    Every process has its own batch, all of the same size. Features and targets are gathered; each shard's logsumexp
    and sum are reduced over the processes. The total loss is the mean of the processes' losses, as in
    `DistributedDataParallel`: a shard's gradient is that of one process with the whole batch and all classes, and the
    gradient of the features is yet to be averaged over processes. Do not wrap this head in
    `DistributedDataParallel`, and save its state in each process: the parameters differ.

    Without `torch.distributed`, or built before the process group is initialized, it is a `CombinedMarginHead`.

    Args:
        in_features: D.
        num_classes: K over all processes, at least 2 for each.
        scale: a number or ``"auto"``; see `CosineHead`.
        margin_multiplier: see `CombinedMarginHead`.
        margin_rad: see `CombinedMarginHead`.
        margin_cos: see `CombinedMarginHead`.
        gradient: see `ArcFaceHead`.
        margin_warmup: steps, see `MarginHead`.

    Raises:
        ValueError: a bad scale, margin, warm-up, gradient or number of classes.

    References:
        Deng et al., "ArcFace", CVPR 2019, section 3.2.
    """

    scales = ("auto",)
    data_parallel = False
    rank: int
    processes: int

    def held_by(self, rank: int) -> range:
        """The classes whose vectors a process holds."""
        return range(rank * self.num_classes // self.processes, (rank + 1) * self.num_classes // self.processes)

    def make_weight(self) -> nn.Parameter:
        """The class vectors held here, ``[K / processes, D]``, different in each process."""
        self.rank, self.processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if self.num_classes < 2 * self.processes:
            raise ValueError(f"{self.processes} processes need 2 classes each, got num_classes={self.num_classes}")
        if self.processes == 1:
            return super().make_weight()
        seed = int(torch.randint(2**62, (), device="cpu")) + self.rank
        generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
        return class_vectors(len(self.held_by(self.rank)), self.in_features, generator)

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """Features ``[B, D]``, class indices ``[B]`` of this process -> `TargetSplit` over all classes, ``[B]``.

        Raises:
            ValueError: a target that is not a class, in any process.
        """
        if self.processes == 1:
            return super().target_split(features, targets)
        index = _gather(self.unchecked_indices(features, targets))
        if not ((index >= 0) & (index < self.num_classes)).all():
            raise ValueError(f"targets must lie in [0, {self.num_classes}) in every process, or be {IGNORE_INDEX}")
        held = self.held_by(self.rank)
        here = index - held.start
        here = here.where((here >= 0) & (here < len(held)), -1)
        shard = split_cosines(_GatherFeatures.apply(features.float()), self.weight, here, self.scale, partial=True)
        cosine, log_sum, total = _ReduceShards.apply(*shard)
        return TargetSplit(self.scale * self.trained(cosine), log_sum, total / (self.num_classes - 1))

    def products(self, features: Tensor) -> Tensor:
        """See `CosineHead.products`.

        Raises:
            ValueError: with more than one process.
        """
        if self.processes > 1:
            raise ValueError("no process of a sharded head holds all class vectors: it takes no linear_losses")
        return super().products(features)

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` of this process -> logits to predict with, ``[B, K]``, float32; no gradient.

        Raises:
            ValueError: targets, with more than one process: train through `target_split`.
        """
        if self.processes == 1:
            return super().forward(features, targets)
        if targets is not None:
            raise ValueError("no process of a sharded head holds all logits: train through its method target_split")
        with torch.no_grad():
            cosines = self.cosines(_gather(features))
            blocks = []
            for rank in range(self.processes):
                block = cosines if rank == self.rank else cosines.new_empty(len(cosines), len(self.held_by(rank)))
                dist.broadcast(block, rank)
                blocks.append(_own(block))
            return self.scale * torch.cat(blocks, dim=1)


def _gather(x: Tensor) -> Tensor:
    """``[B, ...]`` of each process -> those of all, ``[processes * B, ...]``."""
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _own(x: Tensor) -> Tensor:
    """This process's part of what `_gather` put together."""
    return x.chunk(dist.get_world_size())[dist.get_rank()]


def _reduce(x: Tensor, by: Any) -> Tensor:
    x = x.clone()
    dist.all_reduce(x, by)
    return x


class _GatherFeatures(torch.autograd.Function):
    """Every shard adds to the gradient of every process's features."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return _gather(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return dist.get_world_size() * _own(_reduce(gradient, dist.ReduceOp.SUM))


class _ReduceShards(torch.autograd.Function):
    """Shards' values for all examples -> the whole's values for this process's; the loss is the processes' mean."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, log_sum: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        largest = _reduce(log_sum, dist.ReduceOp.MAX)
        whole = largest + _reduce((log_sum - largest).exp(), dist.ReduceOp.SUM).log()
        ctx.save_for_backward((log_sum - whole).exp())
        return (
            _own(_reduce(cosine, dist.ReduceOp.SUM)),
            _own(whole),
            _own(_reduce(total, dist.ReduceOp.SUM)),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cosine: Tensor, log_sum: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (fraction,) = ctx.saved_tensors
        cosine, log_sum, total = (_gather(gradient) / dist.get_world_size() for gradient in (cosine, log_sum, total))
        return cosine, log_sum * fraction, total


HEADS.add(
    "sharded",
    ShardedHead,
    summary="Margins, with the classes divided among processes.",
    reference="Deng et al., ArcFace, CVPR 2019, section 3.2.",
)
