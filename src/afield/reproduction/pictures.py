"""The images of the papers: CIFAR from arrays, subsets of it, and stand-ins that need no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from afield.augment import Standard
from afield.data import ImageSet, load
from afield.data.images import SPLITS
from afield.errors import InputError
from afield.pixels import to_array, to_batch
from afield.records import seed_for

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

EXEMPLAR = Standard(scale=(0.25, 0.75), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
"""How an image becomes the images of a class of its own."""


@dataclass(frozen=True)
class Pictures:
    """Training and test images ``[N, H, W, 3]`` with their labels ``[N]``, from 0 to K - 1."""

    name: str
    train: tuple[Images, Labels]
    test: tuple[Images, Labels]
    class_names: tuple[str, ...]
    flippable: bool = True

    def subset(self, train: int, test: int, classes: Sequence[int] | None = None) -> Pictures:
        """About so many images of each part, in equal numbers of each class, the first after a seeded shuffle."""
        kept = tuple(range(len(self.class_names)) if classes is None else classes)
        parts = []
        for split, (images, labels), count in (("train", self.train, train), ("test", self.test, test)):
            order = np.random.default_rng(seed_for("subset", self.name, split)).permutation(len(labels))
            chosen = [order[labels[order] == label][: count // len(kept)] for label in kept]
            picked = np.concatenate(chosen)
            parts.append((images[picked], np.searchsorted(np.array(kept), labels[picked]).astype(np.int64)))
        names = tuple(self.class_names[label] for label in kept)
        return Pictures(f"{self.name}, {len(parts[0][1]):,} images", parts[0], parts[1], names, self.flippable)

    def exemplars(self, classes: int, train: int, test: int) -> Pictures:
        """Each of so many training images a class of its own: patches of it, mirrored, in other colors, at half size.

        References:
            Dosovitskiy et al., "Discriminative Unsupervised Feature Learning with Exemplar CNNs", NeurIPS 2014.
        """
        seeds = self.subset(classes, 0).train[0]
        images = to_batch(seeds)
        generator = torch.Generator().manual_seed(seed_for("exemplars", self.name))
        parts = []
        for count in (train, test):
            draws = [EXEMPLAR.apply(images, EXEMPLAR.sample(images, generator)) for _ in range(count)]
            pixels = to_array(torch.nn.functional.avg_pool2d(torch.cat(draws), 2))
            parts.append((pixels, np.tile(np.arange(len(seeds)), count)))
        names = tuple(str(label) for label in range(len(seeds)))
        return Pictures(f"{self.name}, exemplars", parts[0], parts[1], names, self.flippable)

    def image_set(self) -> ImageSet:
        """As a set with a given test part."""
        images = np.concatenate([self.train[0], self.test[0]])
        labels = {"train": self.train[1], "test": self.test[1]}
        return ImageSet.from_splits(self.name, images, labels, self.class_names, flippable=self.flippable)


def cifar(folder: Path, name: str) -> Pictures:
    """``cifar10`` or ``cifar100``, from ``FOLDER/NAME.npz``.

    Raises:
        InputError: no such file, or one of another form.
    """
    if not (folder / f"{name}.npz").is_file():
        raise InputError(f"no {name}.npz in {folder}; --data names the folder with cifar10.npz, cifar100.npz and pacs/")
    return _read(folder / f"{name}.npz")


@cache
def _read(path: Path) -> Pictures:
    data = load(str(path))
    part = {split: data.given == SPLITS.index(split) for split in ("train", "test")}
    train, test = ((data.images[inside], data.labels[inside]) for inside in part.values())
    return Pictures(path.stem, train, test, data.class_names)


@cache
def digits() -> Pictures:
    """The embedded digits, every fourth of them a test image: what stands in where nothing is to be read."""
    data = load("digits")
    tested = np.arange(len(data)) % 4 == 3
    train, test = ((data.images[part], data.labels[part]) for part in (~tested, tested))
    return Pictures("digits", train, test, data.class_names, flippable=False)


def fewer(data: ImageSet, count: int) -> ImageSet:
    """About so many of the images, in equal shares of each domain and class."""
    order = np.random.default_rng(seed_for("fewer", data.name.rpartition("/")[2])).permutation(len(data))
    group = data.domains * len(data.class_names) + data.labels
    kept = [order[group[order] == each] for each in np.unique(group)]
    chosen = np.sort(np.concatenate([members[: max(1, round(count * len(members) / len(data)))] for members in kept]))
    return data.subset(chosen)


def pacs(folder: Path, image_size: int) -> ImageSet:
    """PACS from ``FOLDER/pacs``, squashed to so many pixels.

    Raises:
        InputError: no such folder.
    """
    if not (folder / "pacs").is_dir():
        raise InputError(f"no pacs/ in {folder}; --data names the folder with cifar10.npz, cifar100.npz and pacs/")
    return load(str(folder / "pacs"), image_size=image_size)
