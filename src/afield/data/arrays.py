"""Images in an ``.npz`` file with the array names of MedMNIST."""

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
from afield.data.cache import OnProgress, content_keys, kept
from afield.data.classes import class_indices
from afield.data.images import SPLITS, ImageSet
from afield.errors import InputError

MAX_LABEL = 2**63 - 1


def load_npz(path: Path, progress: OnProgress = lambda done, total: None, *, min_classes: int = 2) -> ImageSet:
    """Load an ``.npz`` file.

    The arrays are ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, and optionally ``val_images``,
    ``val_labels`` and ``class_names``. Images are uint8 ``[N, H, W]``, ``[N, H, W, 1]`` or ``[N, H, W, 3]``. Labels are
    integers from 0, ``[N]`` or ``[N, 1]``. The images are extracted one by one into the memory-mapped cache.

    Raises:
        InputError: if the file does not exist or is not an ``.npz``, arrays are missing or have a wrong type or shape,
            or there is a single class.
    """
    with _reading(path):
        headers = _headers(path)
    present = [s for s in SPLITS if s != "val" or {"val_images", "val_labels"} & set(headers)]
    needed = [f"{split}_{kind}" for split in present for kind in ("images", "labels")]
    if missing := [key for key in needed if key not in headers]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it has {', '.join(headers)}")
    shapes = {_image_shape(path, f"{split}_images", headers[f"{split}_images"]) for split in present}
    with _reading(path), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in headers if not name.endswith("_images")}
    counts = [headers[f"{split}_images"].shape[0] for split in present]
    labels = [_labels(path, f"{s}_labels", arrays[f"{s}_labels"], n) for s, n in zip(present, counts, strict=True)]
    class_names = arrays.get("class_names", np.array([], dtype=str))
    if class_names.ndim != 1 or ("class_names" in arrays and class_names.dtype.kind != "U"):
        kind = f"{class_names.dtype} {class_names.shape}"
        raise InputError(f"{path}: class_names must be strings [K]; got {kind}")
    indices, names = class_indices(str(path), np.concatenate(labels), class_names.tolist(), min_classes=min_classes)
    if len(shapes) > 1:
        raise InputError(f"{path}: all splits must have the same image size")

    def fill(folder: Path) -> None:
        rows = (row for split in present for row in _rows(path, f"{split}_images"))
        store.fill(folder, _rgb, rows, shapes.pop(), progress=lambda done: progress(done, sum(counts)))

    stored = kept(["npz", content_keys(path.parent, [path.name])], fill)
    return ImageSet.from_splits(
        str(path),
        stored.images,
        dict(zip(present, np.split(indices, np.cumsum(counts)[:-1]), strict=True)),
        names,
        digests=stored.digests,
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
    """Shape and dtype of each array by name, without reading its content."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in filter(lambda name: name.endswith(".npy"), archive.namelist()):
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _header(file)
    return found


def _header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return _Header(*read(file))


def _rows(path: Path, key: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the images one by one, ``[H, W]`` or ``[H, W, C]``."""
    with _reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        header = _header(file)
        if header.fortran_order:  # the pixels of an image are not contiguous in the file
            with np.load(path) as arrays:
                yield from arrays[key]
            return
        shape = header.shape[1:]
        for _ in range(header.shape[0]):
            yield np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8).reshape(shape)
        file.read(1)  # at the end of the member, zipfile compares the checksum


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3))


def _image_shape(path: Path, key: str, header: _Header) -> tuple[int, ...]:
    """The shape of an RGB image, ``(H, W, 3)``, after a check of the array."""
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        raise InputError(f"{path}: {key} must be uint8 [N, H, W] or [N, H, W, 1 or 3], got {dtype} {shape}")
    return (*shape[1:3], 3)


def _labels(path: Path, key: str, array: NDArray, count: int) -> NDArray:
    flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (count,) or flat.dtype.kind not in "iu":
        raise InputError(f"{path}: {key} must be {count} integers, one for each image; got {array.dtype} {array.shape}")
    if len(flat) and flat.max() > MAX_LABEL:
        raise InputError(f"{path}: {key} has the label {flat.max()}; the largest allowed is {MAX_LABEL}")
    return flat.astype(np.int64)
