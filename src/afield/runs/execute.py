"""Execution of a run in its own folder, with checkpoints to resume it."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from afield.adaptation import build_adaptation
from afield.augment import Identity
from afield.classifier import Classifier
from afield.errors import InputError
from afield.fabric import Fabric
from afield.records import Record, exclusive, read_record, write_record
from afield.runs.adapting import Adapter, standardizes
from afield.runs.build import build_algorithm
from afield.runs.callback import SILENT, Callback
from afield.runs.combine import Member, combine
from afield.runs.features import stored_features
from afield.runs.kept_checkpoints import kept_file
from afield.runs.members import combination_of, members_of, probe_of, set_head
from afield.runs.provenance import provenance
from afield.runs.run import Run, prepare
from afield.runs.stages import FIRST, SECOND, Stages, run_stages
from afield.training import DivergedError, EpochReport, Splits, TrainState, checkpoint, fit

RECORD, DONE, PREDICTIONS, CHECKPOINT = "record.json", "done", "predictions.safetensors", "checkpoint.safetensors"
AUGMENTOR, WEIGHTS = "augmentor.safetensors", "weights.safetensors"
CHECKPOINTS = (CHECKPOINT, FIRST, SECOND)
"""Checkpoints of an interrupted run. They are deleted when the run is done."""


def execute(
    run: Run,
    folder: Path,
    fabric: Fabric,
    *,
    features: NDArray[np.floating] | None = None,
    callback: Callback = SILENT,
    on_trained: Callable[[Classifier, TrainState], None] = lambda classifier, progress: None,
    folder_of: Callable[[Run], Path] | None = None,
) -> Record:
    """Train a run and return its record. A finished run is not repeated; an interrupted run is resumed.

    Runs that this run needs are executed first: the members of a combination, and the linear probe that it starts from.

    Args:
        run: run to train.
        folder: folder of this run. A first stage that several runs share is stored next to it.
        fabric: device and precision.
        features: what training uses in place of images; see `afield.runs.features.stored_features`.
        callback: receives the progress.
        on_trained: called in one process with the trained classifier, before the run is marked as done.
        folder_of: maps a run that this run needs to its folder; by default, that of its hash, next to `folder`.

    Raises:
        DivergedError: if the loss is not finite and the run is not allowed to diverge.
        HeldError: if another process is training the shared first stage, or a run that this run needs.
        InputError: if this run needs others and there is more than one process.
    """
    if (done := _finished(folder, run.keep_weights)) is not None:
        if fabric.is_global_zero:
            callback.run_end(run, folder, done)
        return done
    began, needed_s = time.perf_counter(), 0.0
    fold, parts, classifier = prepare(run, features, fabric)
    trained, details = None, dict[str, Any]()
    predictor = adapter(run, parts, features, fabric)
    try:
        waiting = time.perf_counter()
        needed = _needed(run, folder, fabric, callback, folder_of)
        began += time.perf_counter() - waiting
        needed_s = sum(each.record.duration_s for each in needed)
        if combination := combination_of(run.recipe):
            combined, details = combine(run, combination, needed, classifier, parts, predictor, fabric)
            trained = Stages(Identity(), run.training), combined
        else:
            for probe in needed:
                set_head(classifier, probe.weights())
            trained = _train(run, classifier, parts, folder, fabric, callback, predictor)
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
        images={
            "train": len(parts.train),
            **{name: len(source) for name, source in parts.watched.items()},
            **{f"adapt/{name}": len(source) for name, source in parts.adapt.items()},
        },
        epochs=() if progress is None else tuple(progress.epochs),
        duration_s=round(time.perf_counter() - began + needed_s, 3),
        learned=None if stages is None else stages.record,
        details={"diverged": True} if progress is None else details,
        **provenance(),
    )
    if fabric.is_global_zero:
        if stages is not None and progress is not None:
            indices = {f"test/{name}": torch.from_numpy(found) for name, found in fold.tests.items()}
            tensors = checkpoint.flat({"best": progress.best_logits, "last": progress.logits, "indices": indices})
            checkpoint.save(folder / PREDICTIONS, tensors, {"best_epoch": progress.best_epoch})
            if run.keep_weights:
                checkpoint.save(folder / WEIGHTS, progress.best, {})
            if stages.augmentor is not None:
                stages.augmentor.write(folder / AUGMENTOR)
            on_trained(classifier, progress)
            if run.measure is not None:
                classifier.load_state_dict(progress.best)
                record = dataclasses.replace(record, details=run.measure(run, classifier, stages.augmentation))
        write_record(folder / RECORD, record)
        (folder / DONE).touch()
        _unlink_checkpoints(folder)
        callback.run_end(run, folder, record)
    fabric.barrier()
    return record


def _train(
    run: Run,
    classifier: Classifier,
    parts: Splits,
    folder: Path,
    fabric: Fabric,
    callback: Callback,
    predict_parts: Adapter | None,
) -> tuple[Stages, TrainState]:
    """Train the classifier in place, in all stages of the run."""

    def report(found: EpochReport) -> None:
        callback.epoch(found)
        if fabric.is_global_zero:
            callback.run_epoch(run, folder, found)

    with torch.random.fork_rng(devices=[]):
        stages = run_stages(run, classifier, parts, folder, fabric, callback)
        return stages, fit(
            build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.training_seed),
            parts,
            stages.training,
            stages.augmentation,
            seed=run.training_seed,
            label=run.label,
            checkpoint_file=folder / CHECKPOINT,
            fabric=fabric,
            on_epoch=report,
            predict_parts=predict_parts,
            metric=run.setup.metric,
        )


def adapter(run: Run, parts: Splits, features: NDArray[np.floating] | None, fabric: Fabric) -> Adapter | None:
    """What predicts in place of the classifier, if the run's recipe adapts."""
    recipe, setup = run.recipe, run.setup
    if not recipe.adaptation:
        return None
    train = parts.train if features is None else dataclasses.replace(parts.train, inputs=features)
    return Adapter(
        build_adaptation(recipe.adaptation, recipe.adaptation_options),
        standardizes(recipe),
        parts,
        train,
        setup.data,
        min(run.training.batch_size, len(train)),
        fabric,
    )


def _needed(
    run: Run, folder: Path, fabric: Fabric, callback: Callback, folder_of: Callable[[Run], Path] | None
) -> list[Member]:
    """The members of a combined run, or the probe that a run starts from; executed if they are not finished."""
    probe = probe_of(run)
    runs = members_of(run) if probe is None else [probe]
    if runs and fabric.world_size > 1:
        raise InputError(f"recipe {run.recipe.name!r} trains several runs in one process: --devices must be 1")
    return [_member(run, folder_of(run) if folder_of else folder.parent / run.hash, fabric, callback) for run in runs]


def _member(run: Run, folder: Path, fabric: Fabric, callback: Callback) -> Member:
    features = stored_features(run.setup, run.augment, fabric, callback.features)
    with exclusive(folder):
        record = execute(run, folder, fabric, features=features, callback=callback)
    if not record.epochs:
        raise DivergedError(f"{run.label} diverged")
    tensors, state = checkpoint.load(folder / PREDICTIONS)
    file = _weights(folder, state)
    return Member(record, checkpoint.below("best", tensors), lambda: checkpoint.load(file)[0])


def _weights(folder: Path, predictions: Mapping[str, Any]) -> Path:
    """The file with the weights of the best epoch of a finished run, by the state of its predictions.

    It need not exist.
    """
    kept = kept_file(folder, predictions["best_epoch"])
    return kept if kept.exists() else folder / WEIGHTS


def _finished(folder: Path, keep_weights: bool) -> Record | None:
    """The record of a finished run, or None if the run is not finished.

    Also None, with a warning, if a file is damaged, or the weights should be kept and were not.
    """
    if not (folder / DONE).exists():
        return None
    _unlink_checkpoints(folder)
    try:
        record = read_record(folder / RECORD)
        files = {*folder.glob("*.safetensors"), *([folder / PREDICTIONS] if record.epochs else [])}
        states = {file: checkpoint.load(file)[1] for file in files}
        if keep_weights and record.epochs and not _weights(folder, states[folder / PREDICTIONS]).exists():
            raise InputError(f"the weights of {folder} were not kept, as --keep-checkpoints 1 does")
    except InputError as error:
        warnings.warn(f"{error}; this run is done again", stacklevel=2)
        return None
    return record


def _unlink_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)
