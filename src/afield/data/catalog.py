"""Loading of data sets by name or path, as in ``--data``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from afield.data import digits
from afield.data.arrays import load_npz
from afield.data.cache import OnBadImage, OnProgress, Reading, cache_root, load_listing
from afield.data.hub import PREFIX, load_hub
from afield.data.images import ImageSet
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
    progress: OnProgress = lambda done, total: None,
    min_classes: int = 2,
) -> ImageSet:
    """Load a data set.

    `data` is a name in `DATASETS`, a folder, an ``.npz`` file, ``.tar`` shards, or a data set of the Hugging Face hub
    (``hf:NAME``). An existing path takes precedence over a name. `image_size` applies to image files (default 224);
    arrays keep their size. `min_classes` is 2 for training. With 1, for evaluation, classes can be empty.

    Raises:
        InputError: if `data` is neither a name nor a path, or the data are not valid.
    """
    path, reading = Path(data), Reading(image_size or DEFAULT_IMAGE_SIZE, on_bad_image, progress, min_classes)
    if data.startswith(PREFIX):
        return load_hub(data, reading)
    if layout is None and (shards := find_shards(data)):
        return load_shards(data, shards, reading)
    if path.is_dir():
        return load_listing(list_folder(path, layout, min_classes=min_classes), reading)
    if path.suffix == ".npz":
        return load_npz(path, progress, min_classes=min_classes)
    if path.is_file():
        raise InputError(f"--data {data}: a file, but no .npz or .tar; use a folder of images, an .npz or .tar shards")
    if "/" in data or data.startswith("."):
        raise InputError(f"--data {data}: no such folder or file")
    if data not in DATASETS:
        unknown_name("data set (and no such folder)", data, DATASETS.names)
    return DATASETS[data]()


def _cifar(kind: str, name: str) -> ImageSet:
    """CIFAR from torchvision, which downloads it once into the cache."""
    import torchvision

    source, folder = getattr(torchvision.datasets, kind), str(cache_root() / "downloads")
    try:
        parts = {split: source(folder, train=split == "train", download=True) for split in ("train", "test")}
    except (OSError, RuntimeError) as error:
        raise InputError(f"--data {name}: the download failed ({error}); an .npz file needs no download") from error
    return ImageSet.from_splits(
        name,
        np.concatenate([part.data for part in parts.values()]),
        {split: np.array(part.targets) for split, part in parts.items()},
        parts["train"].classes,
    )


DATASETS.add(
    "digits",
    digits.load,
    summary="1,797 handwritten digits in four domains, 16 px; included.",
    reference="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.",
)
for _classes in (10, 100):
    DATASETS.add(
        f"cifar{_classes}",
        partial(_cifar, f"CIFAR{_classes}", f"cifar{_classes}"),
        summary=f"60,000 photographs, {_classes} classes, 32 px; downloaded at first use.",
        reference="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.",
    )
