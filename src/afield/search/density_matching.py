"""Density matching: evaluation of candidate policies by the loss of a fixed classifier on unseen images.

The loss is low if the distribution of the augmented images matches that of the training images of the classifier.
"""

import time
import warnings
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from afield.augment import Policy
from afield.errors import InputError
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.records import canonical_json, decode, read_jsonl, run_hash, seed_for, write_jsonl
from afield.search.candidates import propose
from afield.search.folds import SearchFold
from afield.search.settings import Search

BATCH = 256


@dataclass(frozen=True)
class Trial:
    """A candidate that was evaluated.

    Attributes:
        policy: lines of the candidate.
        loss: loss of the candidate.
        seconds: duration of proposal and evaluation.
        checksum: CRC-32 of the other fields in the file; None in files of earlier versions.
    """

    policy: tuple[str, ...]
    loss: float
    seconds: float
    checksum: int | None = None

    def signed(self) -> "Trial":
        """The trial with its checksum."""
        return replace(self, checksum=zlib.crc32(canonical_json(asdict(replace(self, checksum=None))).encode()))


@dataclass
class Study:
    """One search on one fold. Each candidate is saved in a file as soon as its loss is known."""

    fold: SearchFold
    number: int
    search: Search
    trials: list[Trial] = field(init=False)

    def __post_init__(self) -> None:
        self.trials = _read_trials(self.file) if self.file.exists() else []

    @property
    def file(self) -> Path:
        """The file of the trials. Its name depends on all settings of a trial, except those of the fold's run."""
        decides = {"sub_policies": self.search.sub_policies, "draws": self.search.draws, "number": self.number}
        return self.fold.folder / f"trials-{run_hash(decides)}.jsonl"

    def step(self, fabric: Fabric) -> float:
        """Propose a candidate, evaluate it, and save both; returns its loss."""
        began = time.perf_counter()
        names = (self.fold.record.run, self.number, len(self.trials))
        tried = [(Policy.parse(trial.policy), trial.loss) for trial in self.trials]
        candidate = propose(tried, self.search.sub_policies, seed_for("candidate", *names))
        generator = torch.Generator().manual_seed(seed_for("draws", *names))
        loss = density_loss(self.fold, candidate, self.search.draws, generator, fabric)
        seconds = round(time.perf_counter() - began, 3)
        self.trials.append(Trial(tuple(candidate.lines), loss, seconds).signed())
        write_jsonl(self.file, map(asdict, self.trials))
        return loss

    def best(self) -> list[Trial]:
        """The `top` trials with the lowest losses, lowest first, among the first `trials` ones."""
        return sorted(self.trials[: self.search.trials], key=lambda trial: trial.loss)[: self.search.top]


def _read_trials(file: Path) -> list[Trial]:
    """The trials in a file; none, with a warning, if it is damaged."""
    try:
        trials = [decode(Trial, line, f"{file}, line {number}:") for number, line in enumerate(read_jsonl(file), 1)]
        if any(trial.checksum not in (None, trial.signed().checksum) for trial in trials):
            raise InputError(f"cannot read {file}: it is damaged, its checksum is another")
    except InputError as error:
        warnings.warn(f"{error}; its candidates are tried again", stacklevel=2)
        return []
    return trials


def density_loss(fold: SearchFold, policy: Policy, draws: int, generator: torch.Generator, fabric: Fabric) -> float:
    """The mean cross-entropy, in nats, of the fold's classifier on its unseen images augmented by a policy.

    For each image, the lowest loss over several augmentations is used.
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
