"""A data set of labeled images, in memory or memory-mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.names import shown

SPLITS = ("train", "val", "test")

SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of splits in folders, shards and data sets of the hub, and the split that each name means."""


@dataclass(frozen=True)
class ImageSet:
    """Images, each with a class and a domain.

    Attributes:
        name: name given by the user.
        images: uint8 ``[N, H, W, 3]``, possibly memory-mapped.
        labels: int64 ``[N]``, indices into `class_names`.
        domains: int64 ``[N]``, indices into `domain_names`; all 0 if the data have no domains.
        digests: uint64 ``[N]``, hash of the pixels of each image. Equal images have equal digests.
        class_names: K names.
        domain_names: E names. A single name means that the data have no domains.
        paths: N names for reports and split lists (relative paths, or ``train/17``).
        given: int8 ``[N]``, indices into `SPLITS` if the data have given splits, otherwise -1.
        groups: int64 ``[N]``; images of one group, such as a burst, are never on both sides of a split. None if every
            image is a group of its own.
        weights: float64 ``[N]``, how often each image is drawn in training, relative to the others. None if equal.
        flippable: whether mirrored images keep their class (mirrored digits do not).
        skipped: skipped files, each with the reason.
        notes: additional lines of `describe`.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    domains: NDArray[np.int64]
    digests: NDArray[np.uint64]
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]
    paths: tuple[str, ...]
    given: NDArray[np.int8]
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    flippable: bool = True
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_splits(
        cls,
        name: str,
        images: NDArray[np.uint8],
        labels: Mapping[str, NDArray],
        class_names: Sequence[str],
        *,
        digests: NDArray[np.uint64] | None = None,
        flippable: bool = True,
    ) -> ImageSet:
        """Create a data set without domains from arrays with given splits.

        Args:
            name: name of the data set.
            images: images of all splits, one split after the other, ``[N, H, W, 3]``.
            labels: labels of each split, ``[N_split]``, in the same order.
            class_names: K names.
            digests: digests of the images, ``[N]``; computed if missing.
            flippable: see the attribute.
        """
        return cls(
            name=name,
            images=images,
            labels=np.concatenate(list(labels.values())).astype(np.int64),
            domains=np.zeros(len(images), dtype=np.int64),
            digests=pixel_digests(images) if digests is None else digests,
            class_names=tuple(class_names),
            domain_names=(shown(Path(name).stem),),
            paths=tuple(f"{split}/{i}" for split, found in labels.items() for i in range(len(found))),
            given=np.concatenate([np.full(len(found), SPLITS.index(s), np.int8) for s, found in labels.items()]),
            flippable=flippable,
        )

    @classmethod
    def from_domains(
        cls,
        name: str,
        images: NDArray[np.uint8],
        labels: NDArray,
        domains: NDArray,
        class_names: Sequence[str],
        domain_names: Sequence[str],
        *,
        flippable: bool = True,
    ) -> ImageSet:
        """Create a data set with domains from arrays.

        Args:
            name: name of the data set.
            images: images ``[N, H, W, 3]``.
            labels: labels ``[N]``, indices into `class_names`.
            domains: domains ``[N]``, indices into `domain_names`.
            class_names: K names.
            domain_names: E names.
            flippable: see the attribute.
        """
        return cls(
            name=name,
            images=images,
            labels=np.asarray(labels, dtype=np.int64),
            domains=np.asarray(domains, dtype=np.int64),
            digests=pixel_digests(images),
            class_names=tuple(class_names),
            domain_names=tuple(domain_names),
            paths=tuple(
                f"{domain_names[domain]}/{class_names[label]}/{i:04d}"
                for i, (domain, label) in enumerate(zip(domains, labels, strict=True))
            ),
            given=np.full(len(images), -1, dtype=np.int8),
            flippable=flippable,
        )

    def subset(self, indices: NDArray[np.int64]) -> ImageSet:
        """The images at these indices ``[M]``, in this order, with all class and domain names."""
        everything = np.array_equal(indices, np.arange(len(self)))
        return replace(
            self,
            images=self.images if everything else np.asarray(self.images[indices]),
            labels=self.labels[indices],
            domains=self.domains[indices],
            digests=self.digests[indices],
            given=self.given[indices],
            groups=None if self.groups is None else self.groups[indices],
            weights=None if self.weights is None else self.weights[indices],
            paths=tuple(self.paths[i] for i in indices),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_domains(self) -> bool:
        """Whether there are several domains, so that one can be held out."""
        return len(self.domain_names) > 1

    @cached_property
    def fingerprint(self) -> str:
        """A hash of pixels, labels, domains, names, given splits, groups and weights. Equal data have equal ones."""
        digest = hashlib.sha256()
        for array in (self.digests, self.labels, self.domains, self.given):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, optional in (("groups", self.groups), ("weights", self.weights)):
            if optional is not None:
                digest.update(name.encode() + np.ascontiguousarray(optional).tobytes())
        digest.update(repr((self.images.shape[1:], self.class_names, self.domain_names)).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def pixel_fingerprint(self) -> str:
        """A hash of the pixels alone, for what depends on nothing else, such as features."""
        digest = hashlib.sha256(np.ascontiguousarray(self.digests).tobytes())
        digest.update(repr(self.images.shape[1:]).encode())
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """A summary in a few lines: domains, classes, number of images and image size."""
        height, width = self.images.shape[1:3]
        lines = [
            f"{self.name}: {len(self):,} images, {height} x {width} pixels",
            f"  {len(self.class_names)} classes: {self._named_classes()}",
        ]
        if self.has_domains:
            for index, domain in enumerate(self.domain_names):
                inside = self.labels[self.domains == index]
                lines.append(f"  {domain}: {len(inside):,}{self._lacking(inside)}")
        for index, split in enumerate(SPLITS):
            if count := int((self.given == index).sum()):
                lines.append(f"  {split} (given): {count:,}")
        if self.groups is not None:
            sizes = np.bincount(self.groups)
            lines.append(
                f"  {np.count_nonzero(sizes):,} groups of images that stay together; the largest has {sizes.max():,}"
            )
        lines += [f"  {note}" for note in self.notes]
        if self.skipped:
            lines.append(f"  skipped {len(self.skipped)} bad images:")
            lines += [f"    {path}: {reason}" for path, reason in self.skipped]
        return "\n".join(lines)

    def _named_classes(self, limit: int = 10) -> str:
        rest = len(self.class_names) - limit
        return ", ".join(self.class_names[:limit]) + (f" and {rest} more" if rest > 0 else "")

    def _lacking(self, labels: NDArray[np.int64]) -> str:
        lacking = [self.class_names[i] for i in sorted(set(range(len(self.class_names))) - set(labels.tolist()))]
        return f" (no {', '.join(lacking)})" if lacking else ""


def pixel_digests(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Images ``[N, H, W, 3]`` -> a 64-bit hash of the pixels of each image, ``[N]``."""
    return np.array([pixel_digest(image) for image in images], dtype=np.uint64)


def pixel_digest(image: NDArray[np.uint8]) -> int:
    """A 64-bit hash of the pixels of an image."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest())
