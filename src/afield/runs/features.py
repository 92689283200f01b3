"""Features of a frozen backbone, extracted once and cached on disk."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.data.cache import cache_root
from afield.data.features import cached_features, finished
from afield.models import BackboneConfig, build_backbone
from afield.pixels import as_floats
from afield.records import canonical_json, seed_for
from afield.runs.config import ExperimentConfig
from afield.training import Subset

FORMAT = 2
BATCH = 64
SAVE_EVERY = 16  # batches


def frozen_backbone(config: BackboneConfig) -> tuple[nn.Module, int]:
    """The backbone for cached features. Without weights, its random initialization is always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("init frozen"))
        return build_backbone(config)


def frozen_features(
    setup: ExperimentConfig, fabric: Fabric, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[np.float32] | None:
    """Features ``[N, D]`` of all images, memory-mapped, if the backbone is frozen; otherwise None.

    The cache key depends on images, weights and normalization; see `afield.data.features.cached_features`.
    """
    if not setup.freeze:
        return None
    data = setup.data

    def compute(start: int) -> Iterator[NDArray[np.float32]]:
        extract = extractor(setup.backbone, fabric)
        source = Subset(data.images, data.labels, np.arange(len(data)), memory=setup.memory)
        rows = [np.arange(first, min(first + BATCH, len(data))) for first in range(start, len(data), BATCH)]
        for images, _ in source.batches(rows):
            yield extract(images)

    return cached_features(_folder(setup), len(data), compute, save_every=SAVE_EVERY, progress=progress)


def missing_features(setup: ExperimentConfig) -> int:
    """The number of images whose features are not cached yet."""
    return len(setup.data) - finished(_folder(setup))


def extractor(backbone: BackboneConfig, fabric: Fabric) -> Callable[[Tensor], NDArray[np.float32]]:
    """A function from uint8 images ``[B, 3, H, W]`` to features ``[B, D]``."""
    model, _ = frozen_backbone(backbone)
    model = model.eval().to(memory_format=torch.channels_last).to(fabric.device)
    mean, std = (fabric.to_device(torch.tensor(values).view(1, 3, 1, 1)) for values in backbone.normalization)

    def extract(images: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode(), fabric.autocast():
            return model((as_floats(fabric.to_device(images)) - mean) / std).float().cpu().numpy()

    return extract


def _folder(setup: ExperimentConfig) -> Path:
    backbone = setup.backbone
    mean, std = backbone.normalization
    key = [FORMAT, setup.data.fingerprint, backbone.name, backbone.stem, backbone.weights_key, mean, std]
    return cache_root() / "features" / hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]
