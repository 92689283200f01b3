"""Images that come as arrays: an ``.npz`` by MedMNIST's convention."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.images import SPLITS, ImageSet, pixel_digests
from afield.errors import InputError


def load_npz(path: Path) -> ImageSet:
    """``train_images``, ``train_labels``, ``test_images``, ``test_labels``, perhaps ``val_*`` and ``class_names``.

    Images are uint8, ``[N, H, W]``, ``[N, H, W, 1]`` or ``[N, H, W, 3]``; labels whole numbers from 0, ``[N]``
    or ``[N, 1]``.

    Raises:
        InputError: no such file, not an ``.npz``, missing keys, wrong types or shapes, or a single class.
    """
    arrays = _read(path)
    val = ("val_images", "val_labels")
    needed = ("train_images", "train_labels", "test_images", "test_labels", *(val if set(val) & set(arrays) else ()))
    if missing := [key for key in needed if key not in arrays]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays)}")
    present = [split for split in SPLITS if f"{split}_images" in arrays]
    images = [_images(path, f"{split}_images", arrays[f"{split}_images"]) for split in present]
    labels = [
        _labels(path, f"{split}_labels", arrays[f"{split}_labels"], len(part))
        for split, part in zip(present, images, strict=True)
    ]
    names = _class_names(path, arrays.get("class_names"), labels)
    if len({array.shape[1:] for array in images}) > 1:
        raise InputError(f"{path}: images of the splits differ in size")
    pixels = np.concatenate(images)
    return ImageSet(
        name=str(path),
        images=pixels,
        labels=np.concatenate(labels),
        domains=np.zeros(len(pixels), dtype=np.int64),
        digests=pixel_digests(pixels),
        class_names=names,
        domain_names=(path.stem,),
        paths=tuple(f"{split}/{i}" for split, array in zip(present, images, strict=True) for i in range(len(array))),
        given=np.repeat(np.array([SPLITS.index(split) for split in present], np.int8), [len(part) for part in images]),
    )


def _read(path: Path) -> dict[str, NDArray]:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise InputError(f"{path} is not an .npz file but a single array")
        with file:
            return {name: file[name] for name in file}
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read {path} as an .npz file: {error}") from None


def _images(path: Path, key: str, array: NDArray) -> NDArray[np.uint8]:
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 3:
        array = np.repeat(array[..., None], 3, axis=3)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise InputError(f"{path}: {key} must be uint8 [N, H, W] or [N, H, W, 1 or 3], got {array.dtype} {array.shape}")
    return array


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
