"""What the labels of a source mean: names or numbers, as class indices from 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from afield.errors import InputError


def class_indices(
    source: str, labels: Sequence[int | str] | NDArray[np.int64], names: Sequence[str] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class indices ``[N]`` of labels ``[N]``, and the name of each class.

    Args:
        source: where the labels come from, for error messages.
        labels: numbers from 0, or names; names are sorted.
        names: of labels that are numbers; the numbers themselves if empty.

    Raises:
        InputError: a single class, labels of both kinds, negative labels, or a label without a name.
    """
    found = sorted(set(labels if isinstance(labels, list | tuple) else np.unique(np.asarray(labels)).tolist()), key=str)
    if len(found) < 2:
        raise InputError(f"{source} holds {_count(len(found))}; a classifier needs at least two")
    if len({type(label) for label in found}) > 1:
        raise InputError(f"{source}: some labels are numbers and others are names")
    if isinstance(found[0], str):
        index = {label: i for i, label in enumerate(found)}
        return np.array([index[label] for label in labels], dtype=np.int64), tuple(map(str, found))
    low, high = min(found), max(found)
    if low < 0:
        raise InputError(f"{source}: label {low} is negative")
    if names and high >= len(names):
        raise InputError(f"{source}: label {high} has no name; {len(names)} classes are named")
    return np.array(labels, dtype=np.int64), tuple(names) or tuple(map(str, range(high + 1)))


def _count(classes: int) -> str:
    return "a single class" if classes == 1 else "no classes"
