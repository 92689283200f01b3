"""Features of a frozen backbone, or activations of its first stages, extracted once and cached on disk."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.augment import Augmentation, Visit, build_chain, chain_key, sample_at, takes_bytes
from afield.classifier import Classifier
from afield.data.cache import cache_root
from afield.data.features import cached_features, finished
from afield.fabric import Fabric
from afield.models import BackboneConfig, build_backbone, computation, divide, fast_inference
from afield.pixels import as_floats
from afield.records import canonical_json, seed_for
from afield.runs.config import ExperimentConfig
from afield.training import Subset

FORMAT = 3
BATCH = 64
SAVE_EVERY = 16  # batches


def frozen_backbone(config: BackboneConfig) -> tuple[nn.Module, int]:
    """The backbone for cached features. Without weights, its random initialization is always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("init frozen"))
        return build_backbone(config)


def stored_features(
    setup: ExperimentConfig,
    augment: str,
    fabric: Fabric,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.floating] | None:
    """What training uses in place of all images, memory-mapped; None if it uses images.

    With a frozen backbone, these are features ``[V * N, D]``. If the last stages train, they are activations
    ``[V * N, H, W, C]``. Row ``v * N + i`` is view ``v`` of image ``i``: view 0 is the image itself, the others are
    augmented.

    The cache key depends on pixels, weights, normalization, `afield.models.computation` and the views; see
    `afield.data.features.cached_features`.

    Args:
        setup: images and backbone.
        augment: names of the augmentation of the views. With ``none``, there is one view (V = 1).
        fabric: device and precision.
        progress: called with the number of finished rows and of all rows.
    """
    if not setup.stores:
        return None
    data = setup.data

    def compute(start: int) -> Iterator[NDArray[np.floating]]:
        extract, augmentation = extractor(setup, fabric), build_chain(augment)
        source = Subset(data.images, data.labels, np.arange(len(data)), memory=setup.memory)
        for view in range(start // len(data), _views(setup, augment)):
            first = max(start - view * len(data), 0)
            rows = [np.arange(row, min(row + BATCH, len(data))) for row in range(first, len(data), BATCH)]
            for (images, _), (row, *_) in zip(source.batches(rows), rows, strict=True):
                yield extract(_view(images, augmentation, view, int(row)) if view else images)

    folder, rows = _folder(setup, augment, fabric), _rows(setup, augment)
    return cached_features(folder, rows, compute, save_every=SAVE_EVERY, progress=progress)


def _view(images: Tensor, augmentation: Augmentation, view: int, row: int) -> Tensor:
    """Augment the images ``[B, 3, H, W]`` from `row` on for a view from 1 on."""
    images = images if takes_bytes(augmentation) else as_floats(images)
    generator = torch.Generator().manual_seed(seed_for("views", view, row))
    visit = Visit(torch.arange(row, row + len(images)), epoch=view - 1, seed=0)
    return augmentation.apply(images, sample_at(augmentation, images, generator, visit))


def blank_features(setup: ExperimentConfig, augment: str, fabric: Fabric) -> NDArray[np.floating] | None:
    """Zeros in the shape of `stored_features`, for time estimates."""
    if not setup.stores:
        return None
    blank = torch.zeros(1, 3, *setup.data.images.shape[1:3])
    (row,) = extractor(setup, fabric)(blank)
    return np.zeros((_rows(setup, augment), *row.shape), row.dtype)


def missing_features(setup: ExperimentConfig, augment: str, fabric: Fabric) -> int:
    """The number of images, or views of them, whose features are not cached yet."""
    return _rows(setup, augment) - finished(_folder(setup, augment, fabric))


def extractor(setup: ExperimentConfig, fabric: Fabric) -> Callable[[Tensor], NDArray[np.floating]]:
    """A function from images ``[B, 3, H, W]`` to features ``[B, D]``, or to activations ``[B, H', W', C]``."""
    backbone, partial = setup.backbone, setup.partial
    model, _ = frozen_backbone(backbone)
    if partial is not None:
        model, _ = divide(model, partial.stage, setup.data.images.shape[1:3])
    if on_cpu := fabric.device.type == "cpu":
        height, width = setup.data.images.shape[1:3]
        model = fast_inference(model, (height, width), "bf16" if setup.training.precision == "bf16" else "32")
    else:
        model = model.eval().to(memory_format=torch.channels_last).to(fabric.device)
    mean, std = (fabric.to_device(torch.tensor(values).view(1, 3, 1, 1)) for values in backbone.normalization)

    def extract(images: Tensor) -> NDArray[np.floating]:
        with torch.inference_mode(), nullcontext() if on_cpu else fabric.autocast():
            found = model((as_floats(fabric.to_device(images)) - mean) / std).float().cpu()
        return found.numpy() if partial is None else found.permute(0, 2, 3, 1).numpy().astype(partial.dtype)

    return extract


def whole_network(setup: ExperimentConfig, classifier: Classifier) -> Classifier:
    """The trained classifier of stored features or activations -> a classifier of images, with the same modules.

    A classifier of images is returned unchanged.
    """
    if not setup.stores:
        return classifier
    backbone, _ = frozen_backbone(setup.backbone)
    if setup.partial is not None:
        _, after = divide(backbone, setup.partial.stage, setup.data.images.shape[1:3])
        after.load_state_dict(classifier.backbone.state_dict())
        classifier.mean, classifier.std = (torch.tensor(v).view(1, 3, 1, 1) for v in setup.backbone.normalization)
    classifier.backbone = backbone
    return classifier


def _views(setup: ExperimentConfig, augment: str) -> int:
    return 1 if augment == "none" else setup.views


def _rows(setup: ExperimentConfig, augment: str) -> int:
    return len(setup.data) * _views(setup, augment)


def _folder(setup: ExperimentConfig, augment: str, fabric: Fabric) -> Path:
    backbone = setup.backbone
    mean, std = backbone.normalization
    key: list[Any] = [FORMAT, setup.data.pixel_fingerprint, backbone.name, backbone.stem, backbone.weights_key]
    key += [mean, std, computation(fabric.device, setup.training.precision)]
    if setup.partial is not None:
        key.append(dataclasses.astuple(setup.partial))
    if (views := _views(setup, augment)) > 1:
        key += [views, chain_key(augment)]
    return cache_root() / "features" / hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]
