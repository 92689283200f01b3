"""Detection of the layout of an image folder, without reading the images."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afield.data.decode import SUFFIXES
from afield.data.images import SPLIT_WORDS, SPLITS
from afield.errors import InputError
from afield.names import checked_name, shown

Layout = Literal["domain/class", "class", "split/class"]

JUNK = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
"""Lower-case names of files and folders that operating systems and file servers create."""

PLACE = re.compile(
    r"(area|cam|camera|cent(er|re)|city|clinic|device|domain|farm|field|hospital|kamera|loc|location|patient|place|plot|"
    r"region|room|scanner|sensor|site|standort|station|street|trap|zone)[ _.-]*(\d+|[a-z])",
    re.IGNORECASE,
)
"""Names that places have and classes do not have, such as ``cam 03``."""


@dataclass(frozen=True)
class Listing:
    """The images of a source, including bad images.

    Attributes:
        name: name of the source; the path of a folder.
        paths, labels, domains, given: as in `afield.data.ImageSet`, for each of N images.
        class_names, domain_names: as in `afield.data.ImageSet`.
        layout: layout of the folder.
        root: folder of the paths, if it is not `name`.
        groups, weights: as in `afield.data.ImageSet`.
        notes: additional lines of the description of the data.
    """

    name: str
    paths: Sequence[str]
    labels: Sequence[int] | NDArray[np.int64]
    domains: Sequence[int] | NDArray[np.int64]
    given: Sequence[int]
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    root: Path | None = None
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None


def list_folder(root: Path, layout: Layout | None = None, *, min_classes: int = 2) -> Listing:
    """List the images below `root`: ``domain/class/image``, ``class/image`` or ``train|test/class/image``.

    The first two layouts differ in depth. In the third, the top folders have names of splits. Hidden files, `JUNK` and
    files of other types are ignored.

    Args:
        root: folder of the images.
        layout: layout of the folder; detected if None.
        min_classes: minimum number of classes: 2 for training. With 1, class folders can be empty.

    Raises:
        InputError: if there is no folder or no image, depths are mixed, a class folder is empty, there are too few
            classes, or a name is not allowed.
    """
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    layout = layout or _recognize(root)
    depth = 1 if layout == "class" else 2
    folders = [root]
    for _ in range(depth):
        folders = [child for folder in folders for child in subfolders(folder)]
    for top in subfolders(root) if depth == 2 else ():
        if stray := next((file for file in sorted(top.iterdir()) if _is_image(file)), None):
            raise InputError(f"{stray} is outside the class folders; move it into one, or use --layout class")
    if not folders:
        raise InputError(f"{root} has no {layout}/ folders")
    found: list[tuple[Path, Path]] = []
    others = Counter("images outside the class folders" for file in root.iterdir() if _is_image(file))
    for folder in folders:
        images = []
        for file in sorted(visible_files(folder)):
            if _is_image(file):
                images.append(file)
            else:
                others[f"{file.suffix.lower() or 'no suffix'} files"] += 1
        if not images and min_classes > 1:
            raise InputError(f"class folder {folder} contains no images ({', '.join(sorted(SUFFIXES))})")
        found += [(folder, file) for file in images]
    if not found:
        raise InputError(f"{root} contains no images ({', '.join(sorted(SUFFIXES))})")
    names = {folder: checked_name(folder.name, "class") for folder in folders}
    classes = tuple(sorted(set(names.values())))
    if len(classes) < min_classes:
        raise InputError(f"{root} has a single class, {classes[0]!r}; a classifier needs at least two")
    tops = {folder: checked_name(folder.parent.name, "domain") for folder in folders} if depth == 2 else {}
    with_domains = layout == "domain/class"
    domains = tuple(sorted(set(tops.values()))) if with_domains else (shown(root.name),)
    class_index, domain_index = ({name: i for i, name in enumerate(each)} for each in (classes, domains))
    label = {folder: class_index[name] for folder, name in names.items()}
    domain = {folder: domain_index[name] if with_domains else 0 for folder, name in tops.items()}
    return Listing(
        name=str(root),
        paths=tuple(file.relative_to(root).as_posix() for _, file in found),
        labels=tuple(label[folder] for folder, _ in found),
        domains=tuple(domain.get(folder, 0) for folder, _ in found),
        given=tuple(_split(folder.parent.name) if layout == "split/class" else -1 for folder, _ in found),
        class_names=classes,
        domain_names=domains,
        layout=layout,
        notes=tuple(f"ignored {count:,} {shown(kind)}" for kind, count in sorted(others.items())),
    )


def image_files(folder: Path) -> Iterator[Path]:
    """The images below a folder; see `visible_files`. Training, evaluation and prediction use this function."""
    return filter(_is_image, visible_files(folder))


def visible_files(folder: Path, parents: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The files below a folder, without hidden files and `JUNK`. Links are followed; loops are entered once."""
    real = os.path.realpath(folder)
    if real in parents:
        return
    for child in sorted(folder.iterdir()):
        if ignored(child.name):
            continue
        if child.is_dir():
            yield from visible_files(child, parents | {real})
        else:
            yield child


def ignored(name: str) -> bool:
    """Whether a file or folder with this name is hidden or created by an operating system."""
    return name.startswith(".") or name.lower() in JUNK


def subfolders(folder: Path) -> list[Path]:
    """The visible subfolders of a folder."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not ignored(child.name))


def _recognize(root: Path) -> Layout:
    tops = subfolders(root)
    if not tops:
        raise InputError(f"{root} has no folders; expected domain/class/image, class/image or train|test/class/image")
    flat = [top.name for top in tops if not subfolders(top)]
    if len(flat) == len(tops):
        if all(map(PLACE.fullmatch, flat)):
            raise InputError(
                f"{root}: are {', '.join(map(shown, flat[:3]))} classes or places? For classes, add --layout class. "
                "For places, sort the images into place/class/ folders, or list them with labels: --data TABLE.csv"
            )
        return "class"
    if flat:
        raise InputError(
            f"{root} mixes depths: {shown(flat[0])!r} has no class folders, but other folders have; "
            "use --layout domain/class or --layout class"
        )
    return "split/class" if all(top.name.lower() in SPLIT_WORDS for top in tops) else "domain/class"


def _is_image(path: Path) -> bool:
    """Whether the path is a visible image file, or a dangling link to one."""
    if path.suffix.lower() not in SUFFIXES or ignored(path.name):
        return False
    return path.is_file() or (path.is_symlink() and not path.exists())


def _split(name: str) -> int:
    if name.lower() not in SPLIT_WORDS:
        raise InputError(f"--layout split/class expects folders named {', '.join(SPLIT_WORDS)}; found {shown(name)!r}")
    return SPLITS.index(SPLIT_WORDS[name.lower()])
