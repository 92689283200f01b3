"""Conversion of labels, names or numbers, to class indices from 0."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from afield.errors import InputError
from afield.names import checked_name


def class_indices(
    source: str, labels: Sequence[int | str] | NDArray[np.int64], names: Sequence[str] = (), *, min_classes: int = 2
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels ``[N]`` -> class indices ``[N]`` and the names of the classes.

    Args:
        source: name of the source, for error messages.
        labels: numbers from 0, or names. Without `names`, only labels that occur become classes.
        names: names of numeric labels, starting with label 0. If empty, the number is the name.
        min_classes: minimum number of classes, 2 for training.

    Raises:
        InputError: if there are too few classes, labels are both names and numbers, a label is negative or has no name,
            or names are not allowed or not unique.
    """
    if not isinstance(labels, np.ndarray):
        labels = [checked_name(label, "class") if isinstance(label, str) else label for label in labels]
    found = set(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    if len(found) < min_classes:
        raise InputError(f"{source} has {'a single class' if found else 'no classes'}; a classifier needs at least two")
    if len({type(label) for label in found}) > 1:
        raise InputError(f"{source}: some labels are numbers and others are names")
    if names:
        names = [checked_name(name, "class") for name in names]
        if twice := next((name for name, count in Counter(names).items() if count > 1), None):
            raise InputError(f"{source}: two classes have the name {twice!r}")
    if low := next((label for label in found if not isinstance(label, str) and label < 0), None):
        raise InputError(f"{source}: label {low} is negative")
    if names and found:
        if (high := max(found)) >= len(names):
            raise InputError(f"{source}: label {high} has no name; there are {len(names)} class names")
        return np.array(labels, dtype=np.int64), tuple(names)
    index = {label: i for i, label in enumerate(sorted(found))}
    return np.array([index[label] for label in labels], dtype=np.int64), tuple(map(str, index))
