"""How long tasks will take on this machine: two batches of each kind of training, timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from afield.augment import build_chain
from afield.classifier import Classifier
from afield.launch.local import cpu_threads
from afield.models import build_backbone
from afield.records import canonical_json
from afield.reproduction.tasks import Desk, Task, Workload, on_purpose
from afield.runs.augmentation import augmentation_names
from afield.runs.build import build_algorithm, build_classifier, build_head_classifier
from afield.training import Splits, Subset, fit

BATCHES = 2
RUN_SECONDS = 1.0
"""What a run takes beside its steps: building, writing, measuring."""


def forecast(tasks: Iterable[Task], desk: Desk) -> dict[str, float]:
    """Seconds that each task will take, by its hash, without what tasks share (features, decoding)."""
    found, rates = dict[str, float](), dict[str, float]()
    for task in tasks:
        work = task.workload()
        config = work.setup.config()
        how = [getattr(work.recipe, name) for name in ("augment", "algorithm", "algorithm_options", "averaging")]
        kind = canonical_json([config["backbone"], config["training"], config["data"]["image_size"], *how])
        if kind not in rates:
            rates[kind] = images_per_second(work, desk)
        found[task.hash] = RUN_SECONDS + work.images / rates[kind]
    return found


def images_per_second(work: Workload, desk: Desk) -> float:
    """Of training steps, timed over two batches after two to warm up."""
    training = dataclasses.replace(work.setup.training, epochs=2)
    data, count = work.setup.data, BATCHES * min(training.batch_size, len(work.setup.data) // BATCHES)
    classifier, inputs = _classifier(work)
    spread = np.linspace(0, len(data) - 1, count).astype(np.int64)  # over all domains
    train = Subset(inputs, data.labels, spread, data.domains)
    parts = Splits(train, Subset(inputs, data.labels, np.arange(2)), {})
    speeds: list[float] = []
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), cpu_threads(desk.threads):
        fit(
            build_algorithm(work.recipe, classifier, train.domain_sizes, seed=0),
            parts,
            training,
            build_chain(augmentation_names(work.setup, work.recipe)),
            seed=0,
            label="forecast",
            checkpoint_file=Path(folder) / "checkpoint.safetensors",
            fabric=desk.fabric(training.precision),
            on_epoch=lambda report: speeds.append(report.images_per_second),
        )
    return speeds[-1]


def _classifier(work: Workload) -> tuple[Classifier, NDArray]:
    """What trains, and what it takes: images ``[N, H, W, 3]``, or numbers ``[N, D]`` in place of frozen features."""
    setup, data = work.setup, work.setup.data
    with on_purpose():
        if not setup.freeze:
            return build_classifier(setup, work.recipe, 0), data.images
        _, features = build_backbone(setup.backbone, load=False)
        stand_in = np.random.default_rng(0).normal(size=(len(data), features)).astype(np.float32)
        return build_head_classifier(setup, work.recipe, 0, features), stand_in
