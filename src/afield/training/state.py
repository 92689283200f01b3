"""The progress of training, and how it is saved and restored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from afield.algorithms import Algorithm
from afield.records import Epoch
from afield.training import checkpoint


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
    tensors = {
        **checkpoint.prefixed("model", algorithm.state_dict()),
        **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(optimizer)),
        **checkpoint.prefixed("best", progress.best),
        **checkpoint.prefixed("best_logits", progress.best_logits),
        **checkpoint.prefixed("logits", progress.logits),
        "rng/augment": drawn,
        "rng/torch": torch.get_rng_state(),
    }
    state = {
        "epoch": progress.epoch,
        "position": progress.position,
        "sums": progress.sums,
        "epochs": [asdict(epoch) for epoch in progress.epochs],
    }
    checkpoint.save(path, tensors, state)


def restore(path: Path, algorithm: Algorithm, optimizer: torch.optim.Optimizer) -> tuple[TrainState, dict[str, Tensor]]:
    """Put algorithm and optimizer back, if there is a whole checkpoint.

    Returns the progress, and the generators' states if an epoch was under way.
    """
    found = checkpoint.resumed(path)
    if found is None:
        return TrainState(), {}
    tensors, state = found
    algorithm.load_state_dict(checkpoint.below("model", tensors))
    checkpoint.load_optimizer(optimizer, checkpoint.below("optimizer", tensors))
    progress = TrainState(
        **{**state, "epochs": [Epoch(**epoch) for epoch in state["epochs"]]},
        best=checkpoint.below("best", tensors),
        best_logits=checkpoint.below("best_logits", tensors),
        logits=checkpoint.below("logits", tensors),
    )
    return progress, checkpoint.below("rng", tensors) if progress.position else {}
