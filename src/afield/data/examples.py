"""Labeled images that come one after the other, without a folder to list: decoded into the cache as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.data import store
from afield.data.cache import OnBadImage, entry, good_images
from afield.data.decode import decode, squash
from afield.data.images import SPLITS, ImageSet
from afield.errors import InputError
from afield.records import read_json


@dataclass(frozen=True)
class Example:
    """An image file with what is known of it.

    Attributes:
        path: names it, for reports.
        content: the bytes of the file.
        label: a number from 0, or a name; the same kind in all examples.
        domain: its domain, if the data has any.
        split: ``train``, ``val`` or ``test``, if the data comes with a split.
    """

    path: str
    content: bytes
    label: int | str
    domain: str = ""
    split: str = ""


def load_examples(
    name: str,
    root: Path,
    key: Any,
    read: Callable[[], Iterator[Example]],
    *,
    image_size: int,
    class_names: Sequence[str] = (),
    on_bad_image: OnBadImage,
    progress: Callable[[int], None],
) -> ImageSet:
    """The images squashed to ``image_size`` squares; read only where the cache does not have them yet.

    Args:
        name: of the set, for people.
        root: of the cache, see `afield.data.cache.images_cache`.
        key: says what the examples are, content and all.
        read: the examples, from the first one.
        image_size: side in pixels.
        class_names: of labels that are numbers; the numbers themselves, unless given.
        on_bad_image: ``"error"`` stops at bad images and names them, ``"skip"`` passes over and counts them.
        progress: called with the number of examples done.

    Raises:
        InputError: bad images under ``"error"``, no good image, a single class, labels of two kinds or without a
            name, or some examples with a domain and others without.
    """
    target = entry(root, [image_size, key])
    if not target.exists():
        seen: list[tuple[str, int | str, str, str]] = []

        def contents() -> Iterator[bytes]:
            for example in read():
                seen.append((example.path, example.label, example.domain, example.split))
                yield example.content

        def square(content: bytes) -> NDArray[np.uint8]:
            return squash(decode(content), image_size)

        shape = (image_size, image_size, 3)
        store.fill(target, square, contents(), shape, progress=progress, about=lambda: {"examples": seen})
    examples = read_json(target / store.INDEX)["examples"]
    paths, labels, domains, splits = zip(*examples, strict=True) if examples else ((),) * 4
    good, skipped = good_images(target, name, paths, on_bad_image)
    numbers, classes = _classes(name, labels, class_names)
    if "" in domains and any(domains):
        raise InputError(f"{name}: {paths[domains.index('')]} has no domain and others have")
    domain_names = tuple(sorted(set(domains))) if any(domains) else (Path(name).stem,)
    return ImageSet(
        name=name,
        images=np.load(target / store.IMAGES, mmap_mode="r"),
        labels=numbers[good],
        domains=np.array([domain_names.index(d) if d else 0 for d in domains], dtype=np.int64)[good],
        digests=np.load(target / store.DIGESTS),
        class_names=classes,
        domain_names=domain_names,
        paths=tuple(paths[i] for i in good),
        given=np.array([SPLITS.index(split) if split else -1 for split in splits], dtype=np.int8)[good],
        skipped=skipped,
    )


def _classes(name: str, labels: Sequence[int | str], given: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as numbers, and what each number is called."""
    if len(set(labels)) < 2:
        raise InputError(f"{name} holds {len(set(labels))} classes; a classifier needs at least two")
    if len({type(label) for label in labels}) > 1:
        raise InputError(f"{name}: some labels are numbers and others are names")
    if isinstance(labels[0], str):
        names = tuple(sorted(set(map(str, labels))))
        places = {label: place for place, label in enumerate(names)}
        return np.array([places[str(label)] for label in labels], dtype=np.int64), names
    numbers = np.array(labels, dtype=np.int64)
    if numbers.min() < 0 or (given and numbers.max() >= len(given)):
        raise InputError(
            f"{name}: labels reach from {numbers.min()} to {numbers.max()}; {len(given)} classes are named"
        )
    return numbers, tuple(given) or tuple(str(i) for i in range(numbers.max() + 1))
