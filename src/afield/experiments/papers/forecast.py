"""How long tasks will take on this machine: two batches of each kind of training, timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from afield.augment import build_chain
from afield.classifier import Classifier
from afield.experiments.augmentation import augmentation_names
from afield.experiments.build import build_classifier, build_head_classifier
from afield.experiments.compare import cpu_threads
from afield.experiments.papers.tasks import Desk, Task, Workload, on_purpose
from afield.models import build_backbone
from afield.records import canonical_json
from afield.training import Parts, Source, fit

BATCHES = 2


def forecast(tasks: Iterable[Task], desk: Desk) -> float:
    """Seconds of training that these tasks take one after the other, without what they share (features, decoding)."""
    total, rates = 0.0, dict[str, float]()
    for task in tasks:
        work = task.workload()
        config = work.setup.config()
        kind = canonical_json(
            [config["backbone"], config["training"], config["data"]["image_size"], work.recipe.augment]
        )
        if kind not in rates:
            rates[kind] = seconds_per_image(work, desk)
        total += work.images * rates[kind]
    return total


def seconds_per_image(work: Workload, desk: Desk) -> float:
    """Of training, timed over two batches after two to warm up."""
    training = dataclasses.replace(work.setup.training, epochs=1)
    labels, count = work.setup.data.labels, BATCHES * min(training.batch_size, len(work.setup.data) // BATCHES)
    classifier, inputs = _classifier(work)
    parts = Parts(Source(inputs, labels, np.arange(count)), Source(inputs, labels, np.arange(2)), {})
    augmentation, seconds = build_chain(augmentation_names(work.setup, work.recipe)), 0.0
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), cpu_threads(desk.threads):
        for attempt in range(2):
            began = time.perf_counter()
            fit(
                classifier,
                parts,
                training,
                augmentation,
                seed=0,
                label="forecast",
                checkpoint_file=Path(folder) / f"{attempt}.safetensors",
                fabric=desk.fabric(training.precision),
            )
            seconds = time.perf_counter() - began
    return seconds / count


def _classifier(work: Workload) -> tuple[Classifier, NDArray]:
    """What trains, and what it takes: images ``[N, H, W, 3]``, or numbers ``[N, D]`` in place of frozen features."""
    setup, data = work.setup, work.setup.data
    with on_purpose():
        if not setup.freeze:
            return build_classifier(setup, work.recipe, 0), data.images
        _, features = build_backbone(setup.backbone, load=False)
        stand_in = np.random.default_rng(0).normal(size=(len(data), features)).astype(np.float32)
        return build_head_classifier(setup, work.recipe, 0, features), stand_in
