"""Backbones to compare: their names, and a ranking by features without training."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from afield.data import ImageSet
from afield.errors import InputError
from afield.evaluation.transferability import h_score, log_me
from afield.fabric import Fabric
from afield.records import seed_for
from afield.runs.config import ExperimentConfig
from afield.runs.features import BATCH, extractor

IMAGES = 1000
"""Number of images for the ranking."""


def read_backbones(texts: Sequence[str], weights: str) -> dict[str, tuple[str, str]]:
    """Names and weights of backbones by their label, from texts such as ``resnet18`` or ``resnet18=weights.pth``.

    The label is the name, or the whole text if a name is given with different weights.

    Args:
        texts: names, each optionally with weights.
        weights: weights of those without.

    Raises:
        InputError: if a backbone is given twice.
    """
    pairs = [(name, own if equals else weights) for name, equals, own in (text.partition("=") for text in texts)]
    names = [name for name, _ in pairs]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise InputError(f"--backbones: {pair[0]} with weights {pair[1]} is given twice")
    return {name if names.count(name) == 1 else f"{name}={own}": (name, own) for name, own in pairs}


def rank(setups: Mapping[str, ExperimentConfig], fabric: Fabric) -> list[dict[str, Any]]:
    """LogME and H-score of each backbone on at most `IMAGES` random images, the highest LogME first.

    They need no training, and no images of the new place.

    Returns:
        for each backbone its name ``backbone``, ``log_me``, ``h_score``, and ``seconds`` of the extraction.
    """
    found = []
    for name, setup in setups.items():
        rows = some_images(setup.data)
        began = time.perf_counter()
        features = _features(setup, rows, fabric)
        seconds = time.perf_counter() - began
        labels = setup.data.labels[rows]
        scores = {"log_me": log_me(features, labels), "h_score": h_score(features, labels)}
        found.append({"backbone": name, **scores, "seconds": seconds})
    return sorted(found, key=lambda row: -row["log_me"])


def some_images(data: ImageSet) -> np.ndarray:
    """The sorted indices of at most `IMAGES` random images."""
    order = np.random.default_rng(seed_for("backbones")).permutation(len(data))
    return np.sort(order[:IMAGES])


def _features(setup: ExperimentConfig, rows: np.ndarray, fabric: Fabric) -> np.ndarray:
    """The features ``[N, D]`` of some images, before any training of the last stages."""
    extract, images = extractor(dataclasses.replace(setup, partial=None), fabric), setup.data.images
    blocks = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return np.concatenate([
        extract(torch.from_numpy(np.array(images[block])).permute(0, 3, 1, 2)) for block in blocks
    ])  # fmt: skip
