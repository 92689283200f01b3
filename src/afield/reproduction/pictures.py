"""The images of the papers: CIFAR and subsets of it, PACS, and the embedded digits as a replacement."""

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
"""The augmentation that creates the images of an exemplar class from one image."""


@dataclass(frozen=True)
class Pictures:
    """Training and test images ``[N, H, W, 3]`` with their labels ``[N]``, from 0 to K - 1."""

    name: str
    train: tuple[Images, Labels]
    test: tuple[Images, Labels]
    class_names: tuple[str, ...]
    flippable: bool = True

    def subset(self, train: int, test: int, classes: Sequence[int] | None = None) -> Pictures:
        """A random subset with about these numbers of images, with equal numbers for each class."""
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
        """A data set in which each class consists of augmented versions of one training image, at half size.

        The images are random patches, flipped and with changed colors; see `EXEMPLAR`.

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
        """Convert to an `ImageSet` with a given test set."""
        images = np.concatenate([self.train[0], self.test[0]])
        labels = {"train": self.train[1], "test": self.test[1]}
        return ImageSet.from_splits(self.name, images, labels, self.class_names, flippable=self.flippable)


def cifar(folder: Path, name: str) -> Pictures:
    """Load ``cifar10`` or ``cifar100`` from ``FOLDER/NAME.npz``.

    Raises:
        InputError: if the file does not exist or has another format.
    """
    if not (folder / f"{name}.npz").is_file():
        raise InputError(f"no {name}.npz in {folder}; --data must contain cifar10.npz, cifar100.npz and pacs/")
    return _read(folder / f"{name}.npz")


@cache
def _read(path: Path) -> Pictures:
    data = load(str(path))
    part = {split: data.given == SPLITS.index(split) for split in ("train", "test")}
    train, test = ((data.images[inside], data.labels[inside]) for inside in part.values())
    return Pictures(path.stem, train, test, data.class_names)


@cache
def digits() -> Pictures:
    """The embedded digits, which need no file. Every fourth image is a test image."""
    data = load("digits")
    tested = np.arange(len(data)) % 4 == 3
    train, test = ((data.images[part], data.labels[part]) for part in (~tested, tested))
    return Pictures("digits", train, test, data.class_names, flippable=False)


def pacs(folder: Path, image_size: int) -> ImageSet:
    """Load PACS from ``FOLDER/pacs``, resized to squares with this side in pixels.

    Raises:
        InputError: if the folder does not exist.
    """
    if not (folder / "pacs").is_dir():
        raise InputError(f"no pacs/ in {folder}; --data must contain cifar10.npz, cifar100.npz and pacs/")
    return load(str(folder / "pacs"), image_size=image_size)
