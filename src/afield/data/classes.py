"""What the labels of a source mean: names or numbers, as class indices from 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from afield.errors import InputError
from afield.names import checked_name


def class_indices(
    source: str,
    labels: Sequence[int | str] | NDArray[np.int64],
    names: Sequence[str] = (),
    *,
    min_classes: int = 2,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class indices ``[N]`` of labels ``[N]``, and the name of each class.

    Args:
        source: where the labels come from, for error messages.
        labels: numbers from 0, or names. Names, and numbers without names, are classes only if they occur.
        names: of labels that are numbers, from label 0; if empty, a number is its own name.
        min_classes: 2 to train.

    Raises:
        InputError: too few classes, labels of both kinds, negative labels, a label without a name, or unusable or
            equal names.
    """
    if not isinstance(labels, np.ndarray):
        labels = [checked_name(label, "class") if isinstance(label, str) else label for label in labels]
    found = set(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    if len(found) < min_classes:
        raise InputError(
            f"{source} holds {'a single class' if found else 'no classes'}; a classifier needs at least two"
        )
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
            raise InputError(f"{source}: label {high} has no name; {len(names)} classes are named")
        return np.array(labels, dtype=np.int64), tuple(names)
    index = {label: i for i, label in enumerate(sorted(found))}
    return np.array([index[label] for label in labels], dtype=np.int64), tuple(map(str, index))
