"""Labeled images from a stream without a listing. Each image is decoded into the cache while it is read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.data import store
from afield.data.cache import SAMPLE, Reading, cached_set, kept
from afield.data.classes import class_indices
from afield.data.decode import BadImageError
from afield.data.images import SPLITS, ImageSet
from afield.data.layout import Listing
from afield.errors import InputError
from afield.names import checked_name, shown


@dataclass(frozen=True)
class Example:
    """An image file with its label.

    Attributes:
        path: name of the example in reports.
        content: content of the file; None if there is no image.
        label: a number from 0, or a name; either numbers or names for all examples.
        domain: domain of the example, if the data have domains.
        split: ``train``, ``val`` or ``test``, if the data have given splits.
    """

    path: str
    content: bytes | None
    label: int | str
    domain: str = ""
    split: str = ""


def load_examples(
    name: str,
    key: Any,
    read: Callable[[], Iterator[Example]],
    reading: Reading,
    *,
    total: int = 0,
    class_names: Sequence[str] = (),
) -> ImageSet:
    """Load the images of a stream. The whole stream is read only if the cache does not contain the images.

    Args:
        name: name of the data set in messages.
        key: key of the examples, which depends on their content.
        read: starts a new pass over the examples.
        reading: image size, handling of bad images, progress.
        total: number of examples, if known.
        class_names: names of numeric labels. If empty, the number is the name.

    Raises:
        InputError: if there are bad images and `on_bad_image` is ``"error"``, there is no good image or a single class,
            labels are mixed or have no name, or only some of the examples have a domain.
    """
    first = islice(read(), SAMPLE) if reading.tiny_size else ()
    reading = reading.for_images(example.content for example in first if example.content)
    seen: list[tuple[str, int | str, str, str]] = []

    def contents() -> Iterator[bytes | None]:
        for example in read():
            seen.append((example.path, example.label, example.domain, example.split))
            yield example.content

    def square(content: bytes | None) -> NDArray[np.uint8]:
        if content is None:
            raise BadImageError("there is no image")
        return reading.square(content)

    def fill(folder: Path) -> None:
        store.fill(
            folder,
            square,
            contents(),
            reading.shape,
            progress=lambda done: reading.progress(done, total),
            about=lambda: {"examples": seen},
        )

    stored = kept([reading.image_size, key], fill)
    examples = stored.index["examples"]
    paths, labels, domains, splits = zip(*examples, strict=True) if examples else ((),) * 4
    indices, names = class_indices(name, labels, class_names, min_classes=reading.min_classes)
    domains = tuple(checked_name(domain, "domain") if domain else "" for domain in domains)
    if "" in domains and any(domains):
        raise InputError(f"{name}: {paths[domains.index('')]} has no domain, but other images have")
    domain_names = tuple(sorted(set(domains))) if any(domains) else (shown(Path(name).stem),)
    number = {name: i for i, name in enumerate(domain_names)}
    numbers = [number[domain] if domain else 0 for domain in domains]
    given = [SPLITS.index(split) if split else -1 for split in splits]
    return cached_set(stored, Listing(name, paths, indices, numbers, given, names, domain_names), reading)
