"""From what the user wrote after ``--data`` to an `ImageSet`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from afield.data import digits
from afield.data.arrays import load_npz
from afield.data.cache import OnBadImage, TrainState, cache_root, load_listing
from afield.data.hub import PREFIX, load_hub
from afield.data.images import ImageSet, pixel_digests
from afield.data.layout import Layout, list_folder
from afield.data.shards import find_shards, load_shards
from afield.errors import InputError, unknown_name
from afield.registry import Registry

DATASETS: Registry[Callable[[], ImageSet]] = Registry("data set")

DEFAULT_IMAGE_SIZE = 224


def load(
    data: str,
    *,
    image_size: int | None = None,
    layout: Layout | None = None,
    on_bad_image: OnBadImage = "error",
    progress: TrainState = lambda done, total: None,
) -> ImageSet:
    """A catalog name, a folder, an ``.npz``, ``.tar`` shards, or a data set of the Hugging Face hub (``hf:NAME``).

    A path that exists goes before a catalog name. ``image_size`` applies to image files (224 unless told);
    arrays keep their own size.

    Raises:
        InputError: neither a name nor a path, or whatever is wrong with the data.
    """
    path, size = Path(data), image_size or DEFAULT_IMAGE_SIZE
    if data.startswith(PREFIX):
        return load_hub(data, image_size=size, on_bad_image=on_bad_image, progress=progress)
    if shards := find_shards(data):
        return load_shards(
            data, shards, image_size=size, on_bad_image=on_bad_image, progress=lambda done: progress(done, 0)
        )
    if path.is_dir():
        return load_listing(list_folder(path, layout), image_size=size, on_bad_image=on_bad_image, progress=progress)
    if path.suffix == ".npz":
        return load_npz(path, progress)
    if path.is_file():
        raise InputError(f"--data {data}: a file, but no .npz or .tar; give a folder of images, an .npz or .tar shards")
    if "/" in data or data.startswith("."):
        raise InputError(f"--data {data}: no such folder or file")
    if data not in DATASETS:
        unknown_name("data set (and no such folder)", data, DATASETS.names)
    return DATASETS[data]()


def _cifar(kind: str, name: str) -> ImageSet:
    """CIFAR through torchvision, which downloads it once into the cache."""
    import torchvision

    source = getattr(torchvision.datasets, kind)
    try:
        parts = [source(str(cache_root() / "downloads"), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise InputError(f"--data {name}: the download failed ({error}); an .npz file works without one") from error
    images = np.concatenate([part.data for part in parts])
    labels = np.concatenate([np.array(part.targets) for part in parts]).astype(np.int64)
    counts = [len(part.data) for part in parts]
    named = zip(("train", "test"), counts, strict=True)
    return ImageSet(
        name=name,
        images=images,
        labels=labels,
        domains=np.zeros(len(images), dtype=np.int64),
        digests=pixel_digests(images),
        class_names=tuple(parts[0].classes),
        domain_names=(name,),
        paths=tuple(f"{split}/{i}" for split, count in named for i in range(count)),
        given=np.repeat(np.array([0, 2], dtype=np.int8), counts),
    )


DATASETS.add(
    "digits",
    digits.load,
    summary="Embedded: 1,797 handwritten digits in four domains, 16 px.",
    reference="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.",
)
DATASETS.add(
    "cifar10",
    lambda: _cifar("CIFAR10", "cifar10"),
    summary="60,000 photographs, 10 classes, 32 px (downloads).",
    reference="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.",
)
DATASETS.add(
    "cifar100",
    lambda: _cifar("CIFAR100", "cifar100"),
    summary="60,000 photographs, 100 classes, 32 px (downloads).",
    reference="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.",
)
