"""Features of a frozen backbone, extracted once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from afield.data import ImageSet
from afield.data.cache import allocate, cache_root
from afield.models import BackboneConfig, build_backbone
from afield.records import canonical_json, exclusive, read_json, seed_for, write_json
from afield.training import Source

BATCH = 64
SAVE_EVERY = 16  # batches


def frozen_backbone(config: BackboneConfig) -> tuple[nn.Module, int]:
    """The backbone whose features are kept; without weights it is the same random one each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("init frozen"))
        return build_backbone(config)


def frozen_features(
    data: ImageSet,
    backbone: BackboneConfig,
    fabric: Fabric,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Features ``[N, D]`` of all images, memory-mapped: keyed by images, weights and transform.

    An extraction that was interrupted goes on where it stopped.
    """
    folder = _folder(data, backbone)
    with exclusive(folder, wait=True):
        done = _done(folder)
        if done < len(data):
            _extract(data, backbone, fabric, folder, done, progress)
    return np.load(folder / "features.npy", mmap_mode="r")


def missing_features(data: ImageSet, backbone: BackboneConfig) -> int:
    """Of how many images the features are not on disk yet."""
    return len(data) - _done(_folder(data, backbone))


def _folder(data: ImageSet, backbone: BackboneConfig) -> Path:
    mean, std = backbone.normalisation
    key = [data.fingerprint, backbone.name, backbone.stem, backbone.weights_key, mean, std]
    return cache_root() / "features" / hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]


def _done(folder: Path) -> int:
    state = folder / "state.json"
    return read_json(state)["done"] if state.exists() else 0


def extractor(
    data: ImageSet, backbone: BackboneConfig, fabric: Fabric
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """From the indices ``[B]`` of images to their features ``[B, D]``."""
    model, _ = frozen_backbone(backbone)
    model = model.eval().to(memory_format=torch.channels_last).to(fabric.device)
    mean, std = (fabric.to_device(torch.tensor(values).view(1, 3, 1, 1)) for values in backbone.normalisation)
    source = Source(data.images, data.labels, np.arange(len(data)))

    def extract(indices: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode(), fabric.autocast():
            images, _ = source.take(indices)
            return model((fabric.to_device(images) - mean) / std).float().cpu().numpy()

    return extract


def _extract(
    data: ImageSet,
    backbone: BackboneConfig,
    fabric: Fabric,
    folder: Path,
    done: int,
    progress: Callable[[int, int], None],
) -> None:
    extract, count = extractor(data, backbone, fabric), frozen_backbone(backbone)[1]
    path = folder / "features.npy"
    shape = (len(data), count)
    features = np.lib.format.open_memmap(path, mode="r+") if done else allocate(path, np.float32, shape)
    for batch, start in enumerate(range(done, len(data), BATCH), start=1):
        stop = min(start + BATCH, len(data))
        features[start:stop] = extract(np.arange(start, stop))
        progress(stop, len(data))
        if batch % SAVE_EVERY == 0 or stop == len(data):
            features.flush()
            write_json(folder / "state.json", {"done": stop})
