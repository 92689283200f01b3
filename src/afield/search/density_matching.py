"""Density matching: candidate policies judged by a fixed classifier's loss on images it has not seen.

Where augmented images lie as dense as those that the classifier was trained on, its loss on them is low.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from afield.augment import Policy
from afield.pixels import as_floats
from afield.records import read_jsonl, run_hash, seed_for, write_jsonl
from afield.search.candidates import propose
from afield.search.folds import SearchFold
from afield.search.settings import Search

BATCH = 256


@dataclass
class Study:
    """One search on one fold: its candidates so far, each kept in a file as soon as its loss is known."""

    fold: SearchFold
    number: int
    search: Search
    trials: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.trials = read_jsonl(self.file) if self.file.exists() else []

    @property
    def file(self) -> Path:
        """Named by what decides a trial beside the run of its fold."""
        decides = {"sub_policies": self.search.sub_policies, "draws": self.search.draws, "number": self.number}
        return self.fold.folder / f"trials-{run_hash(decides)}.jsonl"

    def step(self, fabric: Fabric) -> float:
        """Propose a candidate, judge it, keep both; returns its loss."""
        began = time.perf_counter()
        names = (self.fold.record.run, self.number, len(self.trials))
        tried = [(Policy.parse(trial["policy"]), trial["loss"]) for trial in self.trials]
        candidate = propose(tried, self.search.sub_policies, seed_for("candidate", *names))
        generator = torch.Generator().manual_seed(seed_for("draws", *names))
        loss = density_loss(self.fold, candidate, self.search.draws, generator, fabric)
        trial = {"policy": candidate.lines, "loss": loss, "seconds": round(time.perf_counter() - began, 3)}
        self.trials.append(trial)
        write_jsonl(self.file, self.trials)
        return loss

    def best(self) -> list[dict[str, Any]]:
        """The trials of least loss, the least first, of those that this search asks for."""
        return sorted(self.trials[: self.search.trials], key=lambda trial: trial["loss"])[: self.search.top]


def density_loss(fold: SearchFold, policy: Policy, draws: int, generator: torch.Generator, fabric: Fabric) -> float:
    """The mean cross-entropy, in nats, of the fold's classifier on its unseen images under a policy.

    Of several draws for an image the one of least loss counts.
    """
    total = torch.zeros((), dtype=torch.float64)
    for _, pixels, classes in fold.unseen.in_order(BATCH):
        images, targets = fabric.to_device((as_floats(pixels), classes))
        losses = []
        for _ in range(draws):
            augmented = policy.apply(images, policy.sample(images, generator))
            with torch.inference_mode(), fabric.autocast():
                logits = fold.classifier.logits(augmented).float()
            losses.append(F.cross_entropy(logits, targets, reduction="none"))
        total += torch.stack(losses).amin(0).double().sum().cpu()
    return float(total / len(fold.unseen))
