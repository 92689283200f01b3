"""One training run: a folder named by the hash of its configuration, a record, a done marker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from afield.augment import build_chain
from afield.classifier import Classifier
from afield.data import Fold, make_fold
from afield.recipes import Recipe
from afield.records import Record, read_record, run_hash, seed_for, write_record
from afield.runs.augmentation import augmentation_names, learned_part
from afield.runs.build import build_algorithm, build_classifier, build_head_classifier
from afield.runs.callback import SILENT, Callback
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.runs.stages import FIRST, SECOND, run_stages
from afield.training import Splits, Subset, TrainConfig, TrainState, checkpoint, fit, resident
from afield.types import SeesImages

RECORD, DONE, PREDICTIONS, CHECKPOINT = "record.json", "done", "predictions.safetensors", "checkpoint.safetensors"
AUGMENTOR = "augmentor.safetensors"
CHECKPOINTS = (CHECKPOINT, FIRST, SECOND)
"""What an interrupted run leaves; gone once it is done."""

SEEN = 5000
"""Training images that are shown to a backbone which wants to see some before training, at most."""


@dataclass(frozen=True)
class Run:
    """A recipe trained once: with one seed, without the parts that are held out."""

    setup: ExperimentConfig
    recipe: Recipe
    held_out: tuple[str, ...]
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the result, as JSON can hold it."""
        return {
            **self.setup.config(),
            "recipe": self.recipe.config(),
            "held_out": list(self.held_out),
            "seed": self.seed,
        }

    @property
    def training(self) -> TrainConfig:
        """The settings of training, with the recipe's own."""
        return self.recipe.train_config(self.setup.training)

    @property
    def num_domains(self) -> int:
        """How many domains train."""
        data = self.setup.data
        return len(set(data.domain_names) - set(self.held_out)) if data.has_domains else 1

    @property
    def hash(self) -> str:
        """Names the run's folder."""
        return run_hash(self.config)

    @property
    def label(self) -> str:
        """Names the run for people."""
        without = f", without {' and '.join(self.held_out)}" if self.held_out else ""
        return f"{self.recipe.name}{without}, seed {self.seed}"


def prepare(run: Run, features: NDArray[np.float32] | None, fabric: Fabric) -> tuple[Fold, Splits, Classifier]:
    """The run's split, its images or features ``[N, D]``, and its classifier before training."""
    setup, data = run.setup, run.setup.data
    fold = make_fold(data, run.held_out, setup.validation, run.seed)
    inputs = _near(data.images if features is None else features, setup, fabric)
    parts = Splits(
        train=Subset(inputs, data.labels, fold.train, data.domains, setup.memory),
        val=Subset(inputs, data.labels, fold.val, memory=setup.memory),
        tests={name: Subset(inputs, data.labels, indices, memory=setup.memory) for name, indices in fold.tests.items()},
    )
    if features is not None:
        return fold, parts, build_head_classifier(setup, run.recipe, run.seed, features.shape[1])
    classifier = build_classifier(setup, run.recipe, run.seed)
    if setup.backbone.weights == "none" and isinstance(classifier.backbone, SeesImages):
        rows = np.random.default_rng(seed_for("images seen", run.seed)).permutation(len(parts.train))[:SEEN]
        images, _ = parts.train.take(np.sort(rows))
        classifier.backbone.see(classifier.normalize(images.cpu()))
    return fold, parts, classifier


def execute(
    run: Run,
    folder: Path,
    fabric: Fabric,
    *,
    features: NDArray[np.float32] | None = None,
    callback: Callback = SILENT,
    on_trained: Callable[[Classifier, TrainState], None] = lambda classifier, progress: None,
) -> Record:
    """The run's record; trained only if `folder` holds no finished one, resumed where a checkpoint lies.

    Args:
        run: what to train.
        folder: of this run alone.
        fabric: device and precision.
        features: ``[N, D]`` of the whole data set, if the backbone is frozen.
        callback: told of epochs.
        on_trained: called, on one process, with the trained classifier before the run counts as done.
    """
    if (folder / DONE).exists():
        _unlink_checkpoints(folder)
        return read_record(folder / RECORD)
    began = time.perf_counter()
    setup = run.setup
    fold, parts, classifier = prepare(run, features, fabric)
    names = augmentation_names(setup, run.recipe)
    learned = learned_part(names)
    with torch.random.fork_rng(devices=[]):
        if learned is None:
            training, augmentation = run.training, build_chain(names)
        else:
            stages = run_stages(run, learned, classifier, parts, folder, fabric, callback)
            training, augmentation = stages.training, build_chain(names, {learned: stages.augmentor})
        progress = fit(
            build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed),
            parts,
            training,
            augmentation,
            seed=run.seed,
            label=run.label,
            checkpoint_file=folder / CHECKPOINT,
            fabric=fabric,
            on_epoch=callback.epoch,
        )
    record = Record(
        run=run.hash,
        recipe=run.recipe.name,
        held_out=run.held_out,
        seed=run.seed,
        config=run.config,
        split_hash=fold.hash(setup.data),
        images={"train": len(parts.train), **{name: len(source) for name, source in parts.watched.items()}},
        epochs=tuple(progress.epochs),
        duration_s=round(time.perf_counter() - began, 3),
        learned=None if learned is None else stages.record,
        **provenance(),
    )
    if fabric.is_global_zero:
        tensors = {
            **checkpoint.prefixed("best", progress.best_logits),
            **checkpoint.prefixed("last", progress.logits),
            **checkpoint.prefixed("indices", {f"test/{k}": torch.from_numpy(v) for k, v in fold.tests.items()}),
        }
        checkpoint.save(folder / PREDICTIONS, tensors, {"best_epoch": progress.best_epoch})
        if learned is not None:
            stages.augmentor.write(folder / AUGMENTOR)
        on_trained(classifier, progress)
        write_record(folder / RECORD, record)
        (folder / DONE).touch()
        _unlink_checkpoints(folder)
    fabric.barrier()
    return record


def _unlink_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def _near(inputs: NDArray, setup: ExperimentConfig, fabric: Fabric) -> NDArray | Tensor:
    """The inputs; on a GPU with room to spare, a copy that lies there."""
    device = fabric.device
    if device.type != "cuda" or setup.memory is not None or 2 * inputs.nbytes > torch.cuda.mem_get_info(device)[0]:
        return inputs
    return resident(inputs, device)
