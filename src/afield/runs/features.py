"""Features of a frozen backbone, extracted once and cached on disk."""

from __future__ import annotations

import hashlib
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.data.cache import allocate, cache_root
from afield.models import BackboneConfig, build_backbone
from afield.pixels import as_floats
from afield.records import canonical_json, exclusive, read_json, seed_for, write_json
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

    The cache key depends on images, weights and normalization. An interrupted extraction is resumed; a damaged one
    starts again. If all features are cached, nothing is written, so that the cache can be read-only.
    """
    if not setup.freeze:
        return None
    folder = _folder(setup)
    if _done(_blocks(folder)) < len(setup.data):
        with exclusive(folder, wait=True):
            blocks = _blocks(folder)
            if _done(blocks) < len(setup.data):
                _extract(setup, fabric, folder, blocks, progress)
    return np.load(folder / "features.npy", mmap_mode="r")


def missing_features(setup: ExperimentConfig) -> int:
    """The number of images whose features are not cached yet."""
    return len(setup.data) - _done(_blocks(_folder(setup)))


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


def _blocks(folder: Path) -> list[list[int]]:
    """The end row and the checksum of each cached block of features. Empty if a block is damaged."""
    if not (folder / "state.json").exists():
        return []
    try:
        blocks, start = read_json(folder / "state.json")["blocks"], 0
        features = np.load(folder / "features.npy", mmap_mode="r")
        for stop, checksum in blocks:
            if zlib.crc32(features[start:stop].data) != checksum:
                raise ValueError("another checksum")
            start = stop
    except Exception:  # a damaged file can raise any exception
        warnings.warn(f"the features in {folder} are damaged; they are discarded and extracted again", stacklevel=2)
        return []
    return blocks


def _done(blocks: list[list[int]]) -> int:
    return blocks[-1][0] if blocks else 0


def _extract(
    setup: ExperimentConfig,
    fabric: Fabric,
    folder: Path,
    blocks: list[list[int]],
    progress: Callable[[int, int], None],
) -> None:
    data, extract = setup.data, extractor(setup.backbone, fabric)
    done = _done(blocks)
    path, shape = folder / "features.npy", (len(data), frozen_backbone(setup.backbone)[1])
    features = np.lib.format.open_memmap(path, mode="r+") if done else allocate(path, np.float32, shape)
    source = Subset(data.images, data.labels, np.arange(len(data)), memory=setup.memory)
    rows = [np.arange(start, min(start + BATCH, len(data))) for start in range(done, len(data), BATCH)]
    for batch, (images, _) in enumerate(source.batches(rows), start=1):
        start, stop = rows[batch - 1][0], rows[batch - 1][-1] + 1
        features[start:stop] = extract(images)
        progress(stop, len(data))
        if batch % SAVE_EVERY == 0 or stop == len(data):
            features.flush()
            features = np.lib.format.open_memmap(path, mode="r+")  # releases the memory of the written pages
            blocks.append([int(stop), zlib.crc32(features[_done(blocks) : stop].data)])
            write_json(folder / "state.json", {"blocks": blocks})
