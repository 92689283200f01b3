"""Unseen domains from corrupted test images: noise, blur, low contrast and strong compression."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from afield.data import ImageSet
from afield.data.images import pixel_digests
from afield.records import seed_for
from afield.reproduction.pictures import Pictures

Picture = NDArray[np.uint8]
Corruption = Callable[[Picture, np.random.Generator], Picture]


def _noise(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add Gaussian noise with a standard deviation of 0.1 of the range."""
    return (picture + rng.normal(0, 25.5, size=picture.shape)).clip(0, 255).round().astype(np.uint8)


def _blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Apply a Gaussian blur with a radius of one pixel."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.0)))


def _contrast(picture: Picture, rng: np.random.Generator) -> Picture:
    """Reduce the contrast to 30 %, around the mean of the image."""
    return (picture.mean() + 0.3 * (picture - picture.mean())).round().astype(np.uint8)


def _jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """Compress as JPEG with quality 10."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=10)
    return np.asarray(Image.open(buffer).convert("RGB"))


CORRUPTIONS: dict[str, Corruption] = {"noise": _noise, "blur": _blur, "contrast": _contrast, "jpeg": _jpeg}
"""Corruptions similar to those of Hendrycks and Dietterich, ICLR 2019, each with one strength."""

CLEAN, TEST = "clean", "test"


def with_corruptions(pictures: Pictures) -> ImageSet:
    """Create a data set with the training images as domain ``clean``, and five domains of test images.

    These are the domain ``test`` and one domain for each corruption.
    """
    images, labels = pictures.test
    unseen = {TEST: images}
    for name, corrupt in CORRUPTIONS.items():
        rngs = (np.random.default_rng(seed_for("corruption", name, i)) for i in range(len(images)))
        unseen[name] = np.stack([corrupt(picture, rng) for picture, rng in zip(images, rngs, strict=True)])
    parts = {CLEAN: pictures.train[0], **unseen}
    pixels = np.concatenate(list(parts.values()))
    return ImageSet(
        name=f"{pictures.name}, corrupted",
        images=pixels,
        labels=np.concatenate([pictures.train[1], *[labels] * len(unseen)]),
        domains=np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()]),
        digests=pixel_digests(pixels),
        class_names=pictures.class_names,
        domain_names=tuple(parts),
        paths=tuple(f"{name}/{i}" for name, part in parts.items() for i in range(len(part))),
        given=np.full(len(pixels), -1, dtype=np.int8),
        flippable=pictures.flippable,
    )
