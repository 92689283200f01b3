"""The unfinished runs, and an estimate of their duration. The trial runs for the estimate are not saved."""

import dataclasses
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.augment.learned import AUGMENTORS
from afield.classifier import Classifier
from afield.fabric import Fabric
from afield.launch.local import Executor, cpu_threads
from afield.records import canonical_json, read_record
from afield.runs.augmentation import augmentor_settings, check_augmentation, learned_part
from afield.runs.build import build_algorithm
from afield.runs.config import ExperimentConfig
from afield.runs.execute import CHECKPOINTS, DONE, RECORD
from afield.runs.features import BATCH, blank_features, extractor, missing_features
from afield.runs.members import combination_of
from afield.runs.run import Run, prepare
from afield.training import Splits, Subset, fit

PROBE_SECONDS, PROBE_STEPS, PROBE_IMAGES = 2.0, 3, 1024
"""Duration of the timed training, its smallest number of steps, and number of images per part for evaluation."""

LONG = 2e8
"""Number of pixels, counted each time they pass through a network, from which the time is estimated at the start.

A small network on small images needs about a minute for them, and EfficientNet-Lite0 the same for 4,000 images.
"""

LEARNING = 2.0
"""Approximate cost of an image while an augmentation is learned, relative to its cost in training."""


def plan(runs: Sequence[Run], executor: Executor, *, at_once: int, later: Sequence[Run] = ()) -> dict[str, Any]:
    """The state of each run, and an estimate of the remaining time in seconds. The run folders do not change.

    Runs of the same kind (equal setup, augmentation, algorithm and averaging) are assumed to take the same time per
    image and epoch. This is the median of the finished runs of this kind, or, if there are none, the time of a few
    steps and an evaluation of its first run.

    Args:
        runs: runs that are known.
        executor: executor of the runs.
        at_once: number of runs that are executed at the same time.
        later: runs that stand for those that depend on the results of the others. They are of the same kinds.

    Returns:
        ``runs``: for each run its hash ``run``, its ``label`` and its ``state`` (``done``, ``begun`` or ``to do``).
        ``source``: the basis of the estimate, as text. ``features_s``: the time to extract the missing features of
        frozen layers. ``run_s``: the mean time of a remaining run. ``later``: the number of later runs.
        ``total_s``: the time of all remaining and later runs, if `at_once` runs are executed at the same time.
    """
    states = {run.hash: _state(executor.folder(run)) for run in runs}
    left = [run for run in runs if states[run.hash] != "done"]
    train, finished = TrainImages(), dict[str, list[float]]()
    for run in runs:
        if states[run.hash] == "done":
            duration = read_record(executor.folder(run) / RECORD).duration_s
            finished.setdefault(_kind(run), []).append(duration / _images(run, train.count(run)))
    rates = {kind: statistics.median(found) for kind, found in finished.items()}
    tried = list[Run]()
    for run in left:
        if _kind(run) not in rates:
            tried.append(run)
            with cpu_threads(executor.threads_of(run)):
                rates[_kind(run)] = _seconds(run, executor.fabric(run)) / _images(run, train.count(run))
    features_s = 0.0
    for run in _one_of_each(left):
        with cpu_threads(executor.threads_of(run)):
            features_s += features_seconds(run.setup, run.augment, executor.fabric(run))
    times = [rates[_kind(run)] * _images(run, train.count(run)) for run in (*left, *later)]
    run_s = statistics.mean(times) if times else 0.0
    return {
        "runs": [{"run": run.hash, "label": run.label, "state": states[run.hash]} for run in runs],
        "source": _source(left, tried, sum(map(len, finished.values()))),
        "at_once": at_once,
        "features_s": features_s,
        "run_s": run_s,
        "later": len(later),
        "total_s": features_s + run_s * -(-len(times) // at_once),
    }


def forecast(runs: Sequence[Run], executor: Executor) -> None:
    """Tell the callback how long the unfinished runs take, if they are long enough for an estimate to be worthwhile.

    Several processes that train together have no estimate.
    """
    left = [run for run in runs if _state(executor.folder(run)) != "done"]
    long = any(pixels > LONG for pixels in accumulate(_pixels(left, executor)))
    if long and executor.fabric(left[0]).world_size == 1:
        found = plan(runs, executor, at_once=1)
        executor.callback.forecast(len(left), found["total_s"] - found["features_s"], found["features_s"])


def _pixels(runs: Sequence[Run], executor: Executor) -> Iterator[float]:
    """The pixels that each run passes through its network, and the pixels of the features that are missing."""
    train = TrainImages()
    for run in runs:
        if not run.setup.stores:
            yield _images(run, train.count(run)) * prod(run.setup.data.images.shape[1:3])
    for run in _one_of_each(runs):
        yield missing_features(run.setup, run.augment, executor.fabric(run)) * prod(run.setup.data.images.shape[1:3])


def _one_of_each(runs: Iterable[Run]) -> Iterable[Run]:
    """One of the runs for each set of stored features that they use."""
    return {(id(run.setup), run.augment): run for run in runs if run.setup.stores}.values()


def features_seconds(setup: ExperimentConfig, augment: str, fabric: Fabric) -> float:
    """The time to extract the missing features, estimated from one batch after a warm-up batch."""
    if not (missing := missing_features(setup, augment, fabric)):
        return 0.0
    extract = extractor(setup, fabric)
    images = torch.from_numpy(np.array(setup.data.images[:BATCH])).permute(0, 3, 1, 2)
    extract(images)
    began = time.perf_counter()
    extract(images)
    return (time.perf_counter() - began) / len(images) * missing


def _state(folder: Path) -> str:
    if (folder / DONE).exists():
        return "done"
    return "begun" if any((folder / name).exists() for name in CHECKPOINTS) else "to do"


def _source(left: Sequence[Run], tried: Sequence[Run], finished: int) -> str:
    """The basis of the estimate, as text."""
    if not left:
        return "everything is done"
    found = [f"the median of {finished} finished run{'s' if finished > 1 else ''}"] if finished else []
    if tried:
        more = f" and {len(tried) - 1} others" if len(tried) > 1 else ""
        found.append(f"a few steps and an evaluation of: {tried[0].label}{more}")
    return "; ".join(found)


def _kind(run: Run) -> str:
    """A key that is equal for runs with the same time per image. Options with fractions do not affect the time."""
    setup, recipe = run.setup.config(), run.recipe.config()
    decisive = ("augment", "augment_options", "algorithm", "averaging", "adaptation")
    options = {name: value for name, value in run.recipe.algorithm_options.items() if not isinstance(value, float)}
    return canonical_json([setup, *(recipe.get(name) for name in decisive), options])


class TrainImages:
    """The number of training images of each run, from one split for all recipes and seeds with the same held-out parts.

    Splits of other seeds have about the same number.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, tuple[str, ...]], int] = {}

    def count(self, run: Run) -> int:
        """The number of training images of a run."""
        split = id(run.setup), run.held_out
        if split not in self._counts:
            self._counts[split] = len(run.fold().train)
        return self._counts[split]


def _images(run: Run, count: int) -> float:
    """The number of processed training images: `count` in each epoch of all stages and members; none ends early."""
    setup, epochs = run.setup, float(run.training.epochs)
    if setup.tuning is not None:
        epochs += run.recipe.train_config(setup.tuning).epochs
    learned = learned_part(run.augment)
    if learned is not None:
        settings = augmentor_settings(run.recipe, learned)
        steps = count // min(settings.batch_size, count)
        epochs += LEARNING * settings.epochs * AUGMENTORS[learned].passes(settings, steps)
    combination = combination_of(run.recipe)
    return epochs * count * (1 if combination is None else combination.members)


def _seconds(run: Run, fabric: Fabric) -> float:
    """The time of a run, estimated from a short epoch after an even shorter one."""
    setup, began = run.setup, time.perf_counter()
    features = blank_features(setup, run.augment, fabric)
    _, parts, classifier = prepare(run, features, fabric)
    start_s = time.perf_counter() - began
    batch = min(run.training.batch_size, len(parts.train))
    steps = len(parts.train) // batch
    step_s, _ = _epoch(run, parts, classifier, fabric, min(PROBE_STEPS, steps))
    enough = min(max(PROBE_STEPS, round(PROBE_SECONDS / step_s)), steps)
    step_s, evaluation_s = _epoch(run, parts, classifier, fabric, enough)
    return start_s + _images(run, len(parts.train)) / len(parts.train) * (step_s * steps + evaluation_s)


def _epoch(run: Run, parts: Splits, classifier: Classifier, fabric: Fabric, steps: int) -> tuple[float, float]:
    """Train for some steps and evaluate some images; returns the time of a step and of an evaluation of all images."""
    setup, times = run.setup, list[tuple[float, float]]()
    batch = min(run.training.batch_size, len(parts.train))
    tests = {name: _evenly_spaced(source, PROBE_IMAGES) for name, source in parts.tests.items()}
    few = Splits(
        _evenly_spaced(parts.train, steps * batch), _evenly_spaced(parts.val, PROBE_IMAGES), tests, parts.adapt
    )
    fraction = sum(map(len, few.watched.values())) / sum(map(len, parts.watched.values()))
    with torch.random.fork_rng(devices=[]):
        began = time.perf_counter()
        fit(
            build_algorithm(run.recipe, classifier, few.train.domain_sizes, run.seed),
            few,
            dataclasses.replace(run.training, epochs=1),
            check_augmentation(setup, run.recipe),
            seed=run.seed,
            label=run.label,
            checkpoint_file=None,
            fabric=fabric,
            on_epoch=lambda report: times.append((batch / report.images_per_second, time.perf_counter())),
        )
    ((step_s, ended),) = times
    return step_s, (ended - began - steps * step_s) / fraction


def _evenly_spaced(source: Subset, count: int) -> Subset:
    """At most `count` evenly spaced examples of a source."""
    chosen = np.linspace(0, len(source) - 1, min(count, len(source))).astype(np.int64)
    return dataclasses.replace(source, indices=source.indices[chosen])
