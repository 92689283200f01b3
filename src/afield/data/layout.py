"""Recognize how a folder of images is laid out, before any image is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afield.data.decode import SUFFIXES
from afield.data.images import SPLIT_WORDS, SPLITS
from afield.errors import InputError

Layout = Literal["domain/class", "class", "split/class"]


@dataclass(frozen=True)
class Listing:
    """The images of a source, before it is known which of them are bad.

    Attributes:
        name: of the source; for a folder, its path.
        paths, labels, domains, given: see `afield.data.ImageSet`, for each of N images.
        class_names, domain_names: likewise.
        layout: of a folder.
    """

    name: str
    paths: Sequence[str]
    labels: Sequence[int] | NDArray[np.int64]
    domains: Sequence[int]
    given: Sequence[int]
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    layout: Layout | None = None


def list_folder(root: Path, layout: Layout | None = None) -> Listing:
    """List the images below `root`: ``domain/class/image``, ``class/image`` or ``train|test/class/image``.

    The first two layouts differ in depth; the third has top folders with the names of splits. `layout` overrides what
    would be recognized. Hidden files and files of other types are ignored.

    Raises:
        InputError: no folder, no images, mixed depths, an empty class folder, or a single class.
    """
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    layout = layout or _recognize(root)
    depth = 1 if layout == "class" else 2
    folders = [root]
    for _ in range(depth):
        folders = [child for folder in folders for child in _subfolders(folder)]
    for top in _subfolders(root) if depth == 2 else ():
        if stray := next((file for file in sorted(top.iterdir()) if _is_image(file)), None):
            raise InputError(f"{stray} is outside the class folders; move it into one, or give --layout class")
    if not folders:
        raise InputError(f"{root} has no {layout}/ folders")
    found: list[tuple[Path, Path]] = []
    for folder in folders:
        files = sorted(p for p in folder.rglob("*") if _is_image(p) and not _hidden(p, folder))
        if not files:
            raise InputError(f"class folder {folder} holds no images ({', '.join(sorted(SUFFIXES))})")
        found += [(folder, file) for file in files]
    classes = tuple(sorted({folder.name for folder in folders}))
    if len(classes) < 2:
        raise InputError(f"{root} holds a single class, {classes[0]!r}; a classifier needs at least two")
    tops = tuple(sorted({folder.parent.name for folder in folders})) if depth == 2 else ()
    domains = tops if layout == "domain/class" else (root.name,)
    return Listing(
        name=str(root),
        paths=tuple(file.relative_to(root).as_posix() for _, file in found),
        labels=tuple(classes.index(folder.name) for folder, _ in found),
        domains=tuple(tops.index(folder.parent.name) if layout == "domain/class" else 0 for folder, _ in found),
        given=tuple(_split(folder.parent.name) if layout == "split/class" else -1 for folder, _ in found),
        class_names=classes,
        domain_names=domains,
        layout=layout,
    )


def _recognize(root: Path) -> Layout:
    tops = _subfolders(root)
    if not tops:
        raise InputError(f"{root} has no folders; expected domain/class/image, class/image or train|test/class/image")
    flat = [top.name for top in tops if not _subfolders(top)]
    if len(flat) == len(tops):
        return "class"
    if flat:
        raise InputError(
            f"{root} mixes depths: {flat[0]!r} has no class folders, but other folders have; "
            "give --layout domain/class or class"
        )
    return "split/class" if all(top.name.lower() in SPLIT_WORDS for top in tops) else "domain/class"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def _split(name: str) -> int:
    if name.lower() not in SPLIT_WORDS:
        raise InputError(f"--layout split/class expects folders named {', '.join(SPLIT_WORDS)}; found {name!r}")
    return SPLITS.index(SPLIT_WORDS[name.lower()])
