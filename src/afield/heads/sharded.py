"""A margin head whose classes are divided among processes."""

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


@HEADS.register("sharded", reference="Deng et al., ArcFace, CVPR 2019, section 3.2.")
class ShardedHead(CombinedMarginHead):
    """Margin head that divides the classes among processes.

    It is a `CombinedMarginHead`. Each process holds ``K / processes`` class vectors, and no process computes all
    logits.

    Each process has its own batch; all batches must have the same size. Features and targets are gathered, and the
    logsumexp and the sum of each shard are reduced over the processes. The total loss is the mean of the losses of the
    processes, as in `DistributedDataParallel`. The gradient of a shard equals the gradient in a single process with the
    whole batch and all classes. The gradient of the features must still be averaged over processes. Do not wrap this
    head in `DistributedDataParallel`, and save its state in each process, because the parameters differ.

    If `torch.distributed` is not initialized when the head is created, it behaves like `CombinedMarginHead`.

    Args:
        in_features: D.
        num_classes: K, over all processes, at least 2 per process.
        scale: a number or ``"auto"``; see `CosineHead`.
        margin_multiplier: see `CombinedMarginHead`.
        margin_rad: see `CombinedMarginHead`.
        margin_cos: see `CombinedMarginHead`.
        gradient: see `ArcFaceHead`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Deng et al., "ArcFace", CVPR 2019, section 3.2.
    """

    scales = ("auto",)
    data_parallel = False
    rank: int
    processes: int

    def held_by(self, rank: int) -> range:
        """The classes whose vectors the process `rank` holds."""
        return range(rank * self.num_classes // self.processes, (rank + 1) * self.num_classes // self.processes)

    def make_weight(self) -> nn.Parameter:
        """The initial class vectors of this process, ``[K / processes, D]``, different in each process."""
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
            ValueError: if a target of any process is not a class.
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
            ValueError: if there is more than one process.
        """
        if self.processes > 1:
            raise ValueError("a sharded head does not support linear_losses: no process holds all class vectors")
        return super().products(features)

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` of this process -> logits for prediction, ``[B, K]``, float32, without gradients.

        Raises:
            ValueError: if targets are given and there is more than one process; use `target_split` for training.
        """
        if self.processes == 1:
            return super().forward(features, targets)
        if targets is not None:
            raise ValueError("no process of a sharded head holds all logits; train with its method target_split")
        with torch.no_grad():
            cosines = self.cosines(_gather(features))
            blocks = []
            for rank in range(self.processes):
                block = cosines if rank == self.rank else cosines.new_empty(len(cosines), len(self.held_by(rank)))
                dist.broadcast(block, rank)
                blocks.append(_own(block))
            return self.scale * torch.cat(blocks, dim=1)


def _gather(x: Tensor) -> Tensor:
    """Concatenate the tensors ``[B, ...]`` of all processes: ``[processes * B, ...]``."""
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _own(x: Tensor) -> Tensor:
    """The part of a gathered tensor that belongs to this process."""
    return x.chunk(dist.get_world_size())[dist.get_rank()]


def _reduce(x: Tensor, by: Any) -> Tensor:
    x = x.clone()
    dist.all_reduce(x, by)
    return x


class _GatherFeatures(torch.autograd.Function):
    """Gathers features. In the backward pass, all shards contribute to the gradients of all features."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return _gather(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return dist.get_world_size() * _own(_reduce(gradient, dist.ReduceOp.SUM))


class _ReduceShards(torch.autograd.Function):
    """Reduces the values of the shards over all classes and returns those of this process's examples."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, log_sum: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        largest = _reduce(log_sum, dist.ReduceOp.MAX)
        whole = largest + _reduce((log_sum - largest).exp(), dist.ReduceOp.SUM).log()
        ctx.save_for_backward((log_sum - whole).exp())
        return (_own(_reduce(cosine, dist.ReduceOp.SUM)), _own(whole), _own(_reduce(total, dist.ReduceOp.SUM)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cosine: Tensor, log_sum: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (fraction,) = ctx.saved_tensors
        cosine, log_sum, total = (_gather(gradient) / dist.get_world_size() for gradient in (cosine, log_sum, total))
        return cosine, log_sum * fraction, total
