"""Images that come as arrays: an ``.npz`` by MedMNIST's convention."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from afield.data import store
from afield.data.cache import TrainState, content_keys, entry, images_cache
from afield.data.images import SPLITS, ImageSet
from afield.errors import InputError


def load_npz(path: Path, progress: TrainState = lambda done, total: None) -> ImageSet:
    """``train_images``, ``train_labels``, ``test_images``, ``test_labels``, perhaps ``val_*`` and ``class_names``.

    Images are uint8, ``[N, H, W]``, ``[N, H, W, 1]`` or ``[N, H, W, 3]``; labels whole numbers from 0, ``[N]``
    or ``[N, 1]``. The images are unpacked, one by one, into the memory-mapped cache.

    Raises:
        InputError: no such file, not an ``.npz``, missing keys, wrong types or shapes, or a single class.
    """
    with _reading(path):
        headers = _headers(path)
    val = ("val_images", "val_labels")
    needed = ("train_images", "train_labels", "test_images", "test_labels", *(val if set(val) & set(headers) else ()))
    if missing := [key for key in needed if key not in headers]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(headers)}")
    present = [split for split in SPLITS if f"{split}_images" in headers]
    shapes = [_image_shape(path, f"{split}_images", headers[f"{split}_images"]) for split in present]
    counts = [headers[f"{split}_images"].shape[0] for split in present]
    with _reading(path), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in headers if not name.endswith("_images")}
    labels = [
        _labels(path, f"{split}_labels", arrays[f"{split}_labels"], count)
        for split, count in zip(present, counts, strict=True)
    ]
    names = _class_names(path, arrays.get("class_names"), labels)
    if len(set(shapes)) > 1:
        raise InputError(f"{path}: images of the splits differ in size")
    with images_cache() as root:
        target = entry(root, ["npz", content_keys(root, path.parent, [path.name])])
        if not target.exists():
            rows = (row for split in present for row in _rows(path, f"{split}_images"))
            with _reading(path):
                store.fill(target, _rgb, rows, shapes[0], progress=lambda done: progress(done, sum(counts)))
    return ImageSet(
        name=str(path),
        images=np.load(target / store.IMAGES, mmap_mode="r"),
        labels=np.concatenate(labels),
        domains=np.zeros(sum(counts), dtype=np.int64),
        digests=np.load(target / store.DIGESTS),
        class_names=names,
        domain_names=(path.stem,),
        paths=tuple(f"{split}/{i}" for split, count in zip(present, counts, strict=True) for i in range(count)),
        given=np.repeat(np.array([SPLITS.index(split) for split in present], np.int8), counts),
    )


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read {path} as an .npz file: {error}") from None


def _headers(path: Path) -> dict[str, _Header]:
    """What each array is, by name, without its content."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        found = {}
        for member in members:
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _header(file)
        return found


def _header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return _Header(*read(file))


def _rows(path: Path, key: str) -> Iterator[NDArray[np.uint8]]:
    """One image after the other, ``[H, W]`` or ``[H, W, C]``."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        header = _header(file)
        if header.fortran_order:  # an image is spread over the whole file
            with np.load(path) as arrays:
                yield from arrays[key]
            return
        shape = header.shape[1:]
        for _ in range(header.shape[0]):
            yield np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8).reshape(shape)
        file.read(1)  # past the end, where the check sum is compared


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gray = image.ndim == 2 or image.shape[2] == 1
    return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if gray else image


def _image_shape(path: Path, key: str, header: _Header) -> tuple[int, ...]:
    """``(H, W, 3)``."""
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        raise InputError(f"{path}: {key} must be uint8 [N, H, W] or [N, H, W, 1 or 3], got {dtype} {shape}")
    return (*shape[1:3], 3)


def _labels(path: Path, key: str, array: NDArray, count: int) -> NDArray[np.int64]:
    flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (count,) or flat.dtype.kind not in "iu":
        raise InputError(f"{path}: {key} must be {count} whole numbers, one an image, got {array.dtype} {array.shape}")
    if len(flat) and flat.min() < 0:
        raise InputError(f"{path}: {key} holds a negative label, {flat.min()}")
    return flat.astype(np.int64)


def _class_names(path: Path, names: NDArray | None, labels: list[NDArray[np.int64]]) -> tuple[str, ...]:
    classes = 1 + max((int(array.max()) for array in labels if len(array)), default=0)
    if classes < 2:
        raise InputError(f"{path} holds a single class; a classifier needs at least two")
    if names is None:
        return tuple(str(i) for i in range(classes))
    if len(names) < classes:
        raise InputError(f"{path}: label {classes - 1} has no name in class_names ({len(names)} names)")
    return tuple(str(name) for name in names)
