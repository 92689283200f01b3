"""Features of images from the backbone of a model. They are computed once, cached, and used by every command."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.data.cache import FORMAT, MISSING, cache_root, content_keys
from afield.data.decode import BadImageError, decode_square
from afield.data.features import cached_features
from afield.deploy.model import BATCH, Model
from afield.deploy.predict import OnBadImage, image_paths
from afield.errors import InputError
from afield.models import computation
from afield.names import shown
from afield.prefetch import prefetch
from afield.records import canonical_json

Progress = Callable[[int, int], None]

THREADS = 4


def folder_features(
    model: Model, folder: Path, on_bad_image: OnBadImage, progress: Progress = lambda done, total: None
) -> tuple[list[Path], Tensor, Tensor | None]:
    """Return the files below a folder that are images, with features and predicted losses as in `image_features`.

    Whether a file is an image depends on its bytes, and is cached with its features.

    Raises:
        InputError: if the folder has no files or no images, or, with ``"error"``, a file is not an image.
    """
    files = image_paths(folder)
    root = folder if folder.is_dir() else folder.parent
    names = [file.relative_to(root).as_posix() for file in files]
    keyed = dict(zip(files, content_keys(root, names), strict=True))
    items = [file for file, key in keyed.items() if key != MISSING]

    def read(file: Path) -> NDArray[np.uint8] | None:
        with suppress(BadImageError):
            return decode_square(file.read_bytes(), model.size)
        return None

    features, losses = image_features(model, [keyed[file] for file in items], items, read, progress)
    good = ~features.isnan().any(dim=1)
    kept = {file for file, fine in zip(items, good.tolist(), strict=True) if fine}
    for file in (file for file in files if file not in kept):
        try:
            if keyed[file] == MISSING:
                raise InputError(f"bad image {file}: the target of the link is missing")
            model.pixels(file)  # raises the reason
        except InputError as error:
            if on_bad_image == "error":
                raise
            print(f"skipped: {shown(str(error))}", file=sys.stderr)
    if not kept:
        raise InputError(f"{folder} contains no readable images")
    if not good.all():
        features, losses = features[good], None if losses is None else losses[good]
    return [file for file in files if file in kept], features, losses


def image_features(
    model: Model, key: Any, items: Sequence[Any], read: Callable[[Any], NDArray[np.uint8] | None], progress: Progress
) -> tuple[Tensor, Tensor | None]:
    """Compute or load the features of the backbone ``[N, D]`` and, if the model predicts them, the losses ``[N]``.

    Args:
        model: model with the backbone.
        key: identifies the images, JSON-serializable.
        items: N items to read images from.
        read: from an item to an image ``[H, W, 3]``, or None if there is none. Its features are then NaN.
        progress: called with the number of finished images and the number of all images.
    """
    computed = computation(torch.device("cpu"), model.precision)
    digest = hashlib.sha256(canonical_json([FORMAT, computed, model.size, key]).encode())
    for name, tensor in model.classifier.state_dict().items():
        if not name.startswith(("objective.", "feature_norm.")):
            digest.update(name.encode() + tensor.numpy().tobytes())
    width, predicts = model.classifier.objective.head.in_features, model.classifier.loss_prediction is not None
    function = model.features_and_losses if predicts else model.backbone_features

    def compute(first: int) -> Iterator[NDArray[np.float32]]:
        for start in range(first, len(items), BATCH):
            images = list(prefetch(read, items[start : start + BATCH], depth=BATCH, threads=THREADS))
            good = {i: image for i, image in enumerate(images) if image is not None}
            features = np.full((len(images), width + predicts), np.nan, np.float32)
            if good:
                features[[*good]] = function(np.stack([*good.values()])).numpy()
            yield features

    if not items:
        return torch.zeros(0, width), torch.zeros(0) if predicts else None
    folder = cache_root() / "image-features" / digest.hexdigest()[:24]
    found = torch.from_numpy(cached_features(folder, len(items), compute, progress=progress))
    return found[:, :width], found[:, width] if predicts else None
