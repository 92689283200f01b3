"""A labeled set of images in memory or in a mapped file: what every other part works on."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageSet:
    """Images with a class and a domain each.

    Attributes:
        name: what the user called it.
        images: uint8 ``[N, H, W, 3]``, perhaps a memory map.
        labels: int64 ``[N]``, index into `class_names`.
        domains: int64 ``[N]``, index into `domain_names`; all 0 where the data has no domains.
        digests: uint64 ``[N]``, a hash of each image's pixels: equal images have equal digests.
        class_names: K names.
        domain_names: E names; a single one means that the data has no domains.
        paths: N names for reports and split lists (relative paths, or ``train/17``).
        given: int8 ``[N]``, index into `SPLITS` where the data comes with a split, else -1.
        flippable: whether a mirrored image keeps its class (digits do not).
        skipped: files passed over, with the reason.
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
    flippable: bool = True
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_domains(self) -> bool:
        """Whether one domain can be left out."""
        return len(self.domain_names) > 1

    @cached_property
    def fingerprint(self) -> str:
        """A hash of pixels, labels, domains, names and given split: equal data has equal fingerprints."""
        digest = hashlib.sha256()
        for array in (self.digests, self.labels, self.domains, self.given):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((self.images.shape[1:], self.class_names, self.domain_names)).encode())
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """What was recognized, in a few lines: domains, classes, counts and size."""
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
        if self.skipped:
            lines.append(f"  passed over {len(self.skipped)} bad images:")
            lines += [f"    {path}: {reason}" for path, reason in self.skipped]
        return "\n".join(lines)

    def _named_classes(self, limit: int = 10) -> str:
        rest = len(self.class_names) - limit
        return ", ".join(self.class_names[:limit]) + (f" and {rest} more" if rest > 0 else "")

    def _lacking(self, labels: NDArray[np.int64]) -> str:
        present = set(np.unique(labels).tolist())
        lacking = [name for index, name in enumerate(self.class_names) if index not in present]
        return f" (no {', '.join(lacking)})" if lacking else ""

    def leaks(self) -> list[str]:
        """A line for each pair of domains, or of given splits, that share images with the same pixels."""
        places: dict[int, set[str]] = {}
        for i, digest in enumerate(self.digests.tolist()):
            split = "test" if self.given[i] == SPLITS.index("test") else "train"
            places.setdefault(digest, set()).add(self.domain_names[self.domains[i]] if self.has_domains else split)
        pairs = Counter(
            (first, second)
            for shared in places.values()
            if len(shared) > 1
            for i, first in enumerate(sorted(shared))
            for second in sorted(shared)[i + 1 :]
        )
        return [
            f"leakage: {count:,} image{'s' if count > 1 else ''} with the same pixels in {first} and {second}"
            for (first, second), count in sorted(pairs.items())
        ]


def pixel_digests(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A 64-bit hash of each image's pixels, ``[N, H, W, 3]`` -> ``[N]``."""
    return np.array([pixel_digest(image) for image in images], dtype=np.uint64)


def pixel_digest(image: NDArray[np.uint8]) -> int:
    """A 64-bit hash of one image's pixels."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest())
