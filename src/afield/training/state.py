"""The progress of training, and how it is saved and restored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from afield.algorithms import Algorithm
from afield.records import Epoch
from afield.training import checkpoint

TENSORS = ("best", "best_logits", "logits")
"""The tensors of `TrainState`, each by name."""


@dataclass
class TrainState:
    """The progress of training: everything that a checkpoint holds beside model and optimizer.

    `sums` adds up, over the steps of the epoch so far, each term that is minimized. `best` is the state dict and
    `best_logits` the logits of each watched part at the first epoch of best validation accuracy; `logits` those of
    the last epoch.
    """

    epoch: int = 0
    position: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_logits: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """Index of the first epoch of best validation accuracy."""
        values = [epoch.validation["accuracy"] for epoch in self.epochs]
        return values.index(max(values))


def save(
    path: Path,
    progress: TrainState,
    algorithm: Algorithm,
    optimizer: torch.optim.Optimizer,
    drawn: Tensor,
) -> None:
    """Write a checkpoint: progress, algorithm, optimizer, and the generators of augmentation (`drawn`) and dropout."""
    groups = {
        "model": algorithm.state_dict(),
        "optimizer": checkpoint.optimizer_tensors(optimizer),
        **{name: getattr(progress, name) for name in TENSORS},
        "rng": {"augment": drawn, "torch": torch.get_rng_state()},
    }
    state = {name: getattr(progress, name) for name in ("epoch", "position", "sums")}
    checkpoint.save(path, checkpoint.flat(groups), {**state, "epochs": [asdict(epoch) for epoch in progress.epochs]})


def restore(path: Path, algorithm: Algorithm, optimizer: torch.optim.Optimizer) -> tuple[TrainState, dict[str, Tensor]]:
    """Put algorithm and optimizer back; returns the progress, and the generators' states if an epoch was under way."""
    tensors, state = checkpoint.load(path)
    algorithm.load_state_dict(checkpoint.below("model", tensors))
    checkpoint.load_optimizer(optimizer, checkpoint.below("optimizer", tensors))
    found = {name: checkpoint.below(name, tensors) for name in TENSORS}
    progress = TrainState(**{**state, **found, "epochs": [Epoch(**epoch) for epoch in state["epochs"]]})
    return progress, checkpoint.below("rng", tensors) if progress.position else {}
