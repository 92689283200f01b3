"""Confusion matrices: a heat map for few classes, a list of pairs for many classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

LARGEST_TABLE = 20
PAIRS = 15


@dataclass(frozen=True)
class Cell:
    """The number of images with this true and predicted class, and the number of all images of the true class."""

    count: int
    total: int

    @property
    def share(self) -> float:
        """The fraction of the images of the true class; 0 for a class without images."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True)
class Pair:
    """A true class and a wrong predicted class."""

    true: str
    predicted: str
    cell: Cell


def pooled(by_part: Mapping[str, Sequence[Sequence[int]]]) -> Counts:
    """Sum the counts ``[K, K]`` over all parts: true class by row, predicted class by column."""
    return np.sum([np.asarray(counts, dtype=np.int64) for counts in by_part.values()], axis=0)


def heat_rows(counts: Counts) -> list[list[Cell]]:
    """The cells of the matrix, one row for each true class."""
    return [[Cell(int(count), int(row.sum())) for count in row] for row in counts]


@dataclass(frozen=True)
class ClassRow:
    """Precision and recall of a class over all parts, and its recall in each part; None without images."""

    name: str
    precision: float | None
    recall: float | None
    by_part: Mapping[str, float | None]


def class_rows(by_part: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]) -> list[ClassRow]:
    """The results of each class that has images, lowest recall first, at most `LARGEST_TABLE` of them."""

    def share(counts: Counts, axis: int) -> list[float | None]:
        totals = counts.sum(axis=axis)
        return [right / total if total else None for right, total in zip(np.diag(counts), totals, strict=True)]

    counts = pooled(by_part)
    recalls = {part: share(np.asarray(found), 1) for part, found in by_part.items()}
    everywhere = zip(classes, share(counts, 0), share(counts, 1), strict=True)
    rows = [
        (recall, ClassRow(name, precision, recall, {part: found[index] for part, found in recalls.items()}))
        for index, (name, precision, recall) in enumerate(everywhere)
        if recall is not None
    ]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])][:LARGEST_TABLE]


def confused_pairs(counts: Counts, classes: Sequence[str]) -> list[Pair]:
    """The most frequent confusions, most frequent first."""
    wrong = counts - np.diag(np.diag(counts))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    return [
        Pair(classes[true], classes[predicted], Cell(int(wrong[true, predicted]), int(counts[true].sum())))
        for true, predicted in zip(*np.unravel_index(largest, wrong.shape), strict=True)
        if wrong[true, predicted]
    ]
