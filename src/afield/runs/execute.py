"""The execution of a run in a folder of its own: what it writes, how it resumes, and when it is done."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from afield.classifier import Classifier
from afield.errors import InputError
from afield.records import Record, read_record, write_record
from afield.runs.build import build_algorithm
from afield.runs.callback import SILENT, Callback
from afield.runs.provenance import provenance
from afield.runs.run import Run, prepare
from afield.runs.stages import FIRST, SECOND, Stages, run_stages
from afield.training import DivergedError, Splits, TrainState, checkpoint, fit

RECORD, DONE, PREDICTIONS, CHECKPOINT = "record.json", "done", "predictions.safetensors", "checkpoint.safetensors"
AUGMENTOR = "augmentor.safetensors"
CHECKPOINTS = (CHECKPOINT, FIRST, SECOND)
"""What an interrupted run leaves; gone once it is done."""


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
        folder: of this run alone; the first stage that several runs share lies beside it.
        fabric: device and precision.
        features: ``[N, D]`` of the whole data set, if the backbone is frozen.
        callback: told of epochs.
        on_trained: called, on one process, with the trained classifier before the run counts as done.

    Raises:
        DivergedError: the loss is not finite, unless the run may diverge.
        HeldError: another process is training the stage that this run shares with others.
    """
    if (done := _finished(folder)) is not None:
        return done
    began = time.perf_counter()
    fold, parts, classifier = prepare(run, features, fabric)
    trained = None
    try:
        trained = _train(run, classifier, parts, folder, fabric, callback)
    except DivergedError:
        if not run.may_diverge:
            raise
    stages, progress = trained or (None, None)
    record = Record(
        run=run.hash,
        recipe=run.recipe.name,
        held_out=run.held_out,
        seed=run.seed,
        config=run.config,
        split_hash=fold.hash(run.setup.data),
        images={"train": len(parts.train), **{name: len(source) for name, source in parts.watched.items()}},
        epochs=() if progress is None else tuple(progress.epochs),
        duration_s=round(time.perf_counter() - began, 3),
        learned=None if stages is None else stages.record,
        details={"diverged": True} if progress is None else {},
        **provenance(),
    )
    if fabric.is_global_zero:
        if stages is not None and progress is not None:
            tensors = {
                **checkpoint.prefixed("best", progress.best_logits),
                **checkpoint.prefixed("last", progress.logits),
                **checkpoint.prefixed("indices", {f"test/{k}": torch.from_numpy(v) for k, v in fold.tests.items()}),
            }
            checkpoint.save(folder / PREDICTIONS, tensors, {"best_epoch": progress.best_epoch})
            if stages.augmentor is not None:
                stages.augmentor.write(folder / AUGMENTOR)
            on_trained(classifier, progress)
            if run.measure is not None:
                classifier.load_state_dict(progress.best)
                record = dataclasses.replace(record, details=run.measure(run, classifier, stages.augmentation))
        write_record(folder / RECORD, record)
        (folder / DONE).touch()
        _unlink_checkpoints(folder)
    fabric.barrier()
    return record


def _train(
    run: Run, classifier: Classifier, parts: Splits, folder: Path, fabric: Fabric, callback: Callback
) -> tuple[Stages, TrainState]:
    """Train the classifier in place, through all of the run's stages."""
    with torch.random.fork_rng(devices=[]):
        stages = run_stages(run, classifier, parts, folder, fabric, callback)
        return stages, fit(
            build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed),
            parts,
            stages.training,
            stages.augmentation,
            seed=run.seed,
            label=run.label,
            checkpoint_file=folder / CHECKPOINT,
            fabric=fabric,
            on_epoch=callback.epoch,
        )


def _finished(folder: Path) -> Record | None:
    """The record of a run that is done; None if it is not, or if one of its files is damaged, which a line says."""
    if not (folder / DONE).exists():
        return None
    _unlink_checkpoints(folder)
    try:
        record = read_record(folder / RECORD)
        for file in {*folder.glob("*.safetensors"), *([folder / PREDICTIONS] if record.epochs else [])}:
            checkpoint.load(file)
    except InputError as error:
        warnings.warn(f"{error}; this run is done again", stacklevel=2)
        return None
    return record


def _unlink_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)
