"""Loading of data sets by name or path, as in ``--data``."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from afield.data import colored_digits, digits
from afield.data.arrays import load_npz
from afield.data.benchmarks import BENCHMARKS, Benchmark, load_rotated_mnist
from afield.data.cache import OnBadImage, OnProgress, Reading, cache_root, load_listing
from afield.data.hub import PREFIX, load_hub
from afield.data.images import ImageSet
from afield.data.layout import Layout, list_folder
from afield.data.relations import with_domains, with_groups
from afield.data.shards import find_shards, load_shards
from afield.data.table import SUFFIXES, load_table, named_columns, read_table
from afield.errors import InputError, unknown_name
from afield.registry import Registry

DATASETS: Registry[Callable[[], ImageSet] | Benchmark] = Registry("data set", group="afield.datasets")

DEFAULT_IMAGE_SIZE, TINY_IMAGE_SIZE = 224, 64


def load(
    data: str,
    *,
    root: str | Path | None = None,
    columns: Sequence[str] = (),
    image_size: int | None = None,
    layout: Layout | None = None,
    domain_from: str | None = None,
    group: str | None = None,
    on_bad_image: OnBadImage = "error",
    progress: OnProgress = lambda done, total: None,
    min_classes: int = 2,
) -> ImageSet:
    """Load a data set.

    `data` is a name in `DATASETS`, a folder, a table of images, an ``.npz`` file, ``.tar`` shards, or a data set of the
    Hugging Face hub (``hf:NAME``). An existing path takes precedence over a name.

    Args:
        data: see above.
        root: folder of the images of a table, by default the folder of the table; or folder of a named data set.
        columns: ``NAME=COLUMN`` texts, for the columns of a table that have other names; see `afield.data.table`.
        image_size: side length in pixels of image files; arrays keep their size. The default is 224, or 64 for images
            of at most 64 pixels.
        layout: layout of a folder.
        domain_from: column of a table, or pattern on the paths, that contains the domain.
        group: column of a table, or pattern on the paths, that contains the group, or ``near-duplicates``.
        on_bad_image: see `afield.data.cache.Reading`.
        progress: see `afield.data.cache.OnProgress`.
        min_classes: 2 for training. With 1, for evaluation, classes can be empty.

    Raises:
        InputError: if `data` is neither a name nor a path, or the data are not valid.
    """
    size, tiny = (DEFAULT_IMAGE_SIZE, TINY_IMAGE_SIZE) if image_size is None else (image_size, 0)
    path, reading = Path(data), Reading(size, on_bad_image, progress, min_classes, tiny)
    if path.suffix in SUFFIXES and path.is_file():
        if layout is not None:
            raise InputError(f"--layout is for folders; --data {data} is a table")
        rows, names = read_table(path), named_columns(columns)
        if domain_from in rows[0]:
            names["domain"], domain_from = str(domain_from), None
        if group in rows[0]:
            names["group"], group = str(group), None
        found = load_table(path, rows, Path(root or path.parent), names, reading)
    elif data in DATASETS and not path.exists() and isinstance(benchmark := DATASETS[data], Benchmark) and not columns:
        found = benchmark.load(None if root is None else Path(root), reading)
    elif root or columns:
        raise InputError(f"--{'root' if root else 'columns'} is for tables of images; --data {data} is none")
    else:
        found = _load(data, layout, reading)
    found = found if domain_from is None else with_domains(found, domain_from)
    return found if group is None else with_groups(found, group)


def _load(data: str, layout: Layout | None, reading: Reading) -> ImageSet:
    """Load a data set that is not a table."""
    path, min_classes = Path(data), reading.min_classes
    if data.startswith(PREFIX):
        return load_hub(data, reading)
    if layout is None and (shards := find_shards(data)):
        return load_shards(data, shards, reading)
    if path.is_dir():
        return load_listing(list_folder(path, layout, min_classes=min_classes), reading)
    if path.suffix == ".npz":
        return load_npz(path, reading.progress, min_classes=min_classes)
    if path.is_file():
        raise InputError(f"--data {data}: a file, but no .npz or .tar; use a folder of images, an .npz or .tar shards")
    if "/" in data or data.startswith("."):
        raise InputError(f"--data {data}: no such folder or file")
    if data not in DATASETS:
        unknown_name("data set (and no such folder)", data, DATASETS.known)
    dataset = DATASETS[data]
    assert not isinstance(dataset, Benchmark)
    found = dataset()
    if not isinstance(found, ImageSet):
        raise InputError(f"data set {data!r} is not an ImageSet; its function returns a {type(found).__name__}")
    return found


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
DATASETS.add(
    "colored_digits",
    colored_digits.load,
    summary="1,797 digits in four domains; colors predict the class, differently in each, 16 px; included.",
    reference="Arjovsky et al., Invariant Risk Minimization, 2019, section 5.2 (Colored MNIST).",
)
for _classes in (10, 100):
    DATASETS.add(
        f"cifar{_classes}",
        partial(_cifar, f"CIFAR{_classes}", f"cifar{_classes}"),
        summary=f"60,000 photographs, {_classes} classes, 32 px; downloaded at first use.",
        reference="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.",
    )
for _name, _benchmark in BENCHMARKS.items():
    DATASETS.add(_name, _benchmark, summary=_benchmark.summary, reference=_benchmark.reference)
DATASETS.add(
    "rotated_mnist",
    load_rotated_mnist,
    summary="Rotated MNIST: 70,000 digits, 10 classes, 6 angles, 28 px; downloaded at first use.",
    reference="Ghifary et al., Domain generalization for object recognition with multi-task autoencoders, ICCV 2015.",
)
