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
from afield.training import Source, floats

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
    memory: int | None = None,
) -> NDArray[np.float32]:
    """Features ``[N, D]`` of all images, memory-mapped: keyed by images, weights and transform.

    An extraction that was interrupted goes on where it stopped. `memory` is as in `afield.training.Source`.
    """
    mean, std = backbone.normalisation
    key = [data.fingerprint, backbone.name, backbone.stem, backbone.weights_key, mean, std]
    folder = cache_root() / "features" / hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]
    with exclusive(folder, wait=True):
        state = folder / "state.json"
        done = read_json(state)["done"] if state.exists() else 0
        if done < len(data):
            _extract(
                Source(data.images, data.labels, np.arange(len(data)), memory), backbone, fabric, folder, done, progress
            )
    return np.load(folder / "features.npy", mmap_mode="r")


def _extract(
    source: Source,
    backbone: BackboneConfig,
    fabric: Fabric,
    folder: Path,
    done: int,
    progress: Callable[[int, int], None],
) -> None:
    model, count = frozen_backbone(backbone)
    model = model.eval().to(memory_format=torch.channels_last).to(fabric.device)
    mean, std = (fabric.to_device(torch.tensor(values).view(1, 3, 1, 1)) for values in backbone.normalisation)
    path = folder / "features.npy"
    shape = (len(source), count)
    features = np.lib.format.open_memmap(path, mode="r+") if done else allocate(path, np.float32, shape)
    with torch.inference_mode(), fabric.autocast():
        rows = [np.arange(start, min(start + BATCH, len(source))) for start in range(done, len(source), BATCH)]
        for batch, (images, _) in enumerate(source.batches(rows), start=1):
            start, stop = rows[batch - 1][0], rows[batch - 1][-1] + 1
            features[start:stop] = model((floats(fabric.to_device(images)) - mean) / std).float().cpu().numpy()
            progress(stop, len(source))
            if batch % SAVE_EVERY == 0 or stop == len(source):
                features.flush()
                features = np.lib.format.open_memmap(path, mode="r+")  # what was written leaves memory
                write_json(folder / "state.json", {"done": stop})
