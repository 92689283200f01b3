"""The state of training, and functions that save and restore it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from afield.algorithms import Algorithm
from afield.evaluation import first_best
from afield.fabric import Fabric
from afield.records import Epoch
from afield.training import checkpoint

TENSORS = ("best", "best_logits", "logits")
"""The tensors of `TrainState`, each by name."""


@dataclass
class TrainState:
    """The state of training, without model and optimizer.

    `sums` contains the sum of each loss term over the steps of the current epoch. `best` is the state dict of the first
    epoch with the best value of `metric` on validation images, and `best_logits` contains its logits of each evaluated
    part. `logits` contains those of the last epoch.
    """

    epoch: int = 0
    position: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_logits: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    metric: str = "accuracy"

    @property
    def best_epoch(self) -> int:
        """Index of the first epoch with the best validation metric."""
        return first_best(self.metric, [epoch.validation for epoch in self.epochs])

    def stopped(self, patience: int) -> bool:
        """Whether the last `patience` epochs did not improve the validation metric. Never for a patience of 0."""
        return bool(self.epochs and patience) and len(self.epochs) - 1 - self.best_epoch >= patience


def save(
    path: Path,
    progress: TrainState,
    algorithm: Algorithm,
    optimizer: torch.optim.Optimizer,
    drawn: Mapping[str, Tensor],
    fabric: Fabric,
) -> None:
    """Write a checkpoint: state, algorithm, optimizer, loss scale, and generators, those of the inputs in `drawn`."""
    groups = {
        "model": algorithm.state_dict(),
        "optimizer": checkpoint.optimizer_tensors(optimizer),
        **{name: getattr(progress, name) for name in TENSORS},
        "rng": {**drawn, "torch": torch.get_rng_state()},
    }
    state = {name: getattr(progress, name) for name in ("epoch", "position", "sums")}
    scale = fabric.strategy.precision.state_dict()
    epochs = [asdict(epoch) for epoch in progress.epochs]
    checkpoint.save(path, checkpoint.flat(groups), {**state, "epochs": epochs, **({"scale": scale} if scale else {})})


def restore(
    path: Path | None, algorithm: Algorithm, optimizer: torch.optim.Optimizer, fabric: Fabric, metric: str = "accuracy"
) -> tuple[TrainState, dict[str, Tensor]]:
    """Restore algorithm, optimizer and the scale of the loss (fp16) if there is an intact checkpoint.

    Returns the state, with this metric, and the states of the generators if the checkpoint is within an epoch.
    """
    loaded, precision = None if path is None else checkpoint.resumed(path), fabric.strategy.precision
    if precision.state_dict():  # the scale of fp16, which the fabric keeps from one training to the next
        precision.load_state_dict(torch.amp.GradScaler(fabric.device.type).state_dict())
    if loaded is None:
        return TrainState(metric=metric), {}
    tensors, state = loaded
    algorithm.load_state_dict(checkpoint.below("model", tensors))
    checkpoint.load_optimizer(optimizer, checkpoint.below("optimizer", tensors))
    found = {name: checkpoint.below(name, tensors) for name in TENSORS}
    if scale := state.pop("scale", None):
        precision.load_state_dict(scale)
    epochs = [Epoch(**epoch) for epoch in state["epochs"]]
    progress = TrainState(**{**state, **found, "epochs": epochs, "metric": metric})
    return progress, checkpoint.below("rng", tensors) if progress.position else {}
