"""Official lists of training and validation images, as published for PACS."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.images import ImageSet
from afield.data.splits.groups import Indices
from afield.errors import InputError


def listed(data: ImageSet, rest: Indices, folder: Path) -> NDArray[np.int8]:
    """1 for images in an official validation list, 0 for images in a training list, -1 for all other images."""
    says: dict[str, int] = {}
    for pattern, value in (("*train*.txt", 0), ("*crossval*.txt", 1)):
        for file in sorted(folder.glob(pattern)):
            for line in filter(str.strip, file.read_text(errors="surrogateescape").splitlines()):
                says[line.rsplit(maxsplit=1)[0]] = value
    if not says:
        raise InputError(f"--splits {folder}: found no *train*.txt and *crossval*.txt lists")
    found = np.array([says.get(data.paths[i], -1) for i in rest], dtype=np.int8)
    for domain in np.unique(data.domains[rest]):
        if (found[data.domains[rest] == domain] < 0).all():
            raise InputError(f"--splits {folder}: no list contains an image of domain {data.domain_names[domain]!r}")
    return found
