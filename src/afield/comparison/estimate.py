"""What a comparison would do, and about how long it would take: nothing is kept of what is tried out for it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.algorithms import Algorithm
from afield.data import make_fold
from afield.launch.local import cpu_threads
from afield.records import read_record
from afield.runs.augmentation import check_augmentation
from afield.runs.build import build_algorithm
from afield.runs.config import ExperimentConfig
from afield.runs.features import BATCH, extractor, frozen_backbone, missing_features
from afield.runs.run import CHECKPOINT, CHECKPOINTS, DONE, RECORD, Run, prepare
from afield.training import EpochReport, Splits, Subset, fit

PROBE_SECONDS, PROBE_STEPS, PROBE_IMAGES = 2.0, 3, 1024
"""How long training is timed for; with how many steps at least; on how many images of a part evaluation is."""


def plan(runs: Sequence[Run], out: Path, *, fabric: Fabric, threads: int, at_once: int) -> dict[str, Any]:
    """What each run's state is, and an estimate of the time that is left, in seconds; `out` is only read.

    ``runs`` holds ``run`` (hash), ``label`` and ``state`` (``done``, ``begun`` or ``to do``) of each; ``source``
    says what the estimate rests on: the median of finished runs by training image, else a few steps and an
    evaluation of the first run that is to do, without the stages in which an augmentation is learned.
    ``features_s`` is the time to extract what is missing of a frozen backbone's features, ``run_s`` that of a run on
    average, and ``total_s`` that of all, with so many `at_once`.
    """
    states = {run.hash: _state(out / "runs" / run.hash) for run in runs}
    left = [run for run in runs if states[run.hash] != "done"]
    finished = [read_record(out / "runs" / run.hash / RECORD) for run in runs if states[run.hash] == "done"]
    features_s = run_s = 0.0
    source = "everything is done"
    if left:
        with cpu_threads(threads):
            features_s = _features_seconds(left[0].setup, fabric)
            if finished:
                source = f"the median of {len(finished)} finished run{'s' if len(finished) > 1 else ''}"
                rate = statistics.median(record.duration_s / record.images["train"] for record in finished)
            else:
                source = f"a few steps and an evaluation of: {left[0].label}"
                rate = _seconds(left[0], fabric) / _training_images(left[0])
        run_s = rate * statistics.mean(_training_images(run) for run in left)
    return {
        "runs": [{"run": run.hash, "label": run.label, "state": states[run.hash]} for run in runs],
        "source": source,
        "at_once": at_once,
        "features_s": features_s,
        "run_s": run_s,
        "total_s": features_s + run_s * -(-len(left) // at_once),
    }


def _state(folder: Path) -> str:
    if (folder / DONE).exists():
        return "done"
    return "begun" if any((folder / name).exists() for name in CHECKPOINTS) else "to do"


def _training_images(run: Run) -> int:
    return len(make_fold(run.setup.data, run.held_out, run.setup.validation, run.seed).train)


def _features_seconds(setup: ExperimentConfig, fabric: Fabric) -> float:
    """Time to extract the features that are wanted and not on disk, by that of one batch after a first one."""
    if not setup.freeze or not (missing := missing_features(setup)):
        return 0.0
    extract, images = extractor(setup.backbone, fabric), torch.from_numpy(setup.data.images[:BATCH]).permute(0, 3, 1, 2)
    extract(images)
    began = time.perf_counter()
    extract(images)
    return (time.perf_counter() - began) / len(images) * missing


def _seconds(run: Run, fabric: Fabric) -> float:
    """The time of a run, by a short epoch of it after a shorter one."""
    setup, began = run.setup, time.perf_counter()
    features = np.zeros((len(setup.data), frozen_backbone(setup.backbone)[1]), np.float32) if setup.freeze else None
    _, parts, classifier = prepare(run, features, fabric)
    start_s = time.perf_counter() - began
    batch = min(run.training.batch_size, len(parts.train))
    steps = len(parts.train) // batch
    algorithm = build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed)
    step_s, _ = _epoch(run, parts, algorithm, fabric, min(PROBE_STEPS, steps))
    enough = min(max(PROBE_STEPS, round(PROBE_SECONDS / step_s)), steps)
    step_s, evaluation_s = _epoch(run, parts, algorithm, fabric, enough)
    return start_s + run.training.epochs * (step_s * steps + evaluation_s)


def _epoch(run: Run, parts: Splits, algorithm: Algorithm, fabric: Fabric, steps: int) -> tuple[float, float]:
    """Train so many steps and evaluate on some images: seconds a step, and of evaluation on all images."""
    setup, times = run.setup, list[tuple[float, float]]()
    batch = min(run.training.batch_size, len(parts.train))
    few = Splits(
        _some(parts.train, steps * batch),
        _some(parts.val, PROBE_IMAGES),
        {name: _some(source, PROBE_IMAGES) for name, source in parts.tests.items()},
    )
    share = sum(map(len, few.watched.values())) / sum(map(len, parts.watched.values()))

    def on_epoch(report: EpochReport) -> None:
        times.append((batch / report.images_per_second, time.perf_counter()))

    with TemporaryDirectory(prefix="afield-") as folder, torch.random.fork_rng(devices=[]):
        began = time.perf_counter()
        fit(
            algorithm,
            few,
            dataclasses.replace(run.training, epochs=1),
            check_augmentation(setup, run.recipe),
            seed=run.seed,
            label=run.label,
            checkpoint_file=Path(folder) / CHECKPOINT,
            fabric=fabric,
            on_epoch=on_epoch,
        )
    ((step_s, ended),) = times
    return step_s, (ended - began - steps * step_s) / share


def _some(source: Subset, count: int) -> Subset:
    """So many of a source's examples, evenly spread; all of them if it has fewer."""
    chosen = np.linspace(0, len(source) - 1, min(count, len(source))).astype(np.int64)
    return dataclasses.replace(source, indices=source.indices[chosen])
