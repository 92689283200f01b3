"""Features of images from the backbone of a model. They are computed once, cached, and used by every command."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.adaptation.features import backbone_features
from afield.data.cache import allocate, cache_root
from afield.deploy.model import BATCH, Model
from afield.errors import InputError
from afield.names import shown
from afield.prefetch import prefetch
from afield.records import canonical_json, exclusive, read_json, write_json

Progress = Callable[[int, int], None]

THREADS = 4


def file_features(
    model: Model,
    files: Sequence[Path],
    on_bad_image: Literal["error", "skip"],
    progress: Progress = lambda done, total: None,
) -> tuple[list[Path], Tensor]:
    """Return the files that are images, and their features ``[N, D]``; see `cached_features`.

    Raises:
        InputError: if, with ``"error"``, a file is not an image.
    """

    def read(file: Path) -> NDArray[np.uint8] | None:
        try:
            return model.pixels(file)
        except InputError:
            if on_bad_image == "error":
                raise
            return None

    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    features = cached_features(model, stats, files, read, progress)
    good = ~features.isnan().any(dim=1)
    for file in (file for file, fine in zip(files, good.tolist(), strict=True) if not fine):
        try:
            model.pixels(file)
        except InputError as error:
            if on_bad_image == "error":
                raise
            print(f"skipped: {shown(str(error))}", file=sys.stderr)
    kept = [file for file, fine in zip(files, good.tolist(), strict=True) if fine]
    return kept, features if good.all() else features[good]


def cached_features(
    model: Model, key: Any, items: Sequence[Any], read: Callable[[Any], NDArray[np.uint8] | None], progress: Progress
) -> Tensor:
    """Compute the features of the backbone ``[N, D]``, or load them. An interrupted computation continues.

    Args:
        model: model with the backbone.
        key: identifies the images, JSON-serializable.
        items: N items to read images from.
        read: from an item to an image ``[H, W, 3]``, or None if there is none. Its features are then NaN.
        progress: called with the number of finished images and the number of all images.
    """
    digest = hashlib.sha256(canonical_json(key).encode())
    for name, tensor in model.classifier.state_dict().items():
        if not name.startswith(("objective.", "feature_norm.")):
            digest.update(name.encode() + tensor.numpy().tobytes())
    folder = cache_root() / "image-features" / digest.hexdigest()[:24]
    file, state = folder / "features.npy", folder / "state.json"
    shape = (len(items), model.classifier.objective.head.in_features)
    with exclusive(folder, wait=True):
        done = read_json(state)["done"] if state.exists() else 0
        features = np.lib.format.open_memmap(file, mode="r+") if done else allocate(file, np.float32, shape)
        for start in range(done, len(items), BATCH):
            images = list(prefetch(read, items[start : start + BATCH], depth=BATCH, threads=THREADS))
            good = {start + i: image for i, image in enumerate(images) if image is not None}
            features[start : start + len(images)] = np.nan
            if good:
                pixels = torch.from_numpy(np.stack([*good.values()])).permute(0, 3, 1, 2)
                features[[*good]] = backbone_features(model.classifier, pixels).numpy()
            features.flush()
            write_json(state, {"done": start + len(images)})
            progress(start + len(images), len(items))
    return torch.from_numpy(np.load(file, mmap_mode="c"))
