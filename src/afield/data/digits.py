"""An embedded data set: scikit-learn's handwritten digits, rendered in four domains."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from afield.data.images import ImageSet
from afield.records import seed_for

SIZE = 16

Draw = Callable[[Image.Image, int, int, np.random.Generator], Image.Image]
"""Makes an image from a digit (light on black, 16 x 16 pixels), its class, its domain and random numbers."""


def _paper(glyph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dark ink on light paper, like a scan."""
    return glyph.point(lambda v: 255 - v).convert("RGB")


def _slanted(glyph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same paper, rotated by 15 to 35 degrees in either direction."""
    angle = rng.uniform(15, 35) * rng.choice([-1, 1])
    return _paper(glyph.rotate(angle, Image.Resampling.BILINEAR), rng)


def _faded(glyph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Faded colored ink, out of focus."""
    ink = rng.uniform(0.2, 0.8, size=3)
    soft = np.asarray(glyph.filter(ImageFilter.GaussianBlur(0.9)), dtype=float)
    return Image.fromarray((235 - soft[..., None] * ink).round().astype(np.uint8))


def _wall(glyph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dark paint on an uneven, grainy wall."""
    ramp = np.linspace(-1, 1, SIZE)
    slope = rng.uniform(-50, 50, size=2)
    wall = 190 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :] + rng.normal(0, 6, size=(SIZE, SIZE))
    gray = wall - 0.75 * np.asarray(glyph, dtype=float)
    tint = np.array([1.0, 0.93, 0.82])
    return Image.fromarray((gray[..., None] * tint).clip(0, 255).round().astype(np.uint8))


DOMAINS = {"faded": _faded, "paper": _paper, "slanted": _slanted, "wall": _wall}


def load() -> ImageSet:
    """Load 1,797 digits as RGB images, 16 x 16 pixels, in four domains. Deterministic.

    Each original image is in exactly one domain.

    References:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998, from scikit-learn.
    """
    return rendered("digits", tuple(DOMAINS), _in_domain)


def _in_domain(glyph: Image.Image, label: int, domain: int, rng: np.random.Generator) -> Image.Image:
    return [*DOMAINS.values()][domain](glyph, rng)


def rendered(name: str, names: Sequence[str], draw: Draw) -> ImageSet:
    """The 1,797 digits, each in one domain. They are drawn once in a process.

    Args:
        name: name of the data set, which also determines the random numbers.
        names: names of the domains.
        draw: see `Draw`.
    """
    images, labels, domains = _drawn(name, len(names), draw)
    classes = [str(digit) for digit in range(10)]
    return ImageSet.from_domains(name, images.copy(), labels.copy(), domains.copy(), classes, names, flippable=False)


@cache
def _drawn(name: str, count: int, draw: Draw) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images, labels and domains of all digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    glyphs = (digits.images * (255 / 16)).round().astype(np.uint8)
    domains = _deal(digits.target, count, name)
    images = [
        np.asarray(draw(_enlarge(glyph), int(label), int(domain), np.random.default_rng(seed_for(name, i))))
        for i, (glyph, label, domain) in enumerate(zip(glyphs, digits.target, domains, strict=True))
    ]
    return np.stack(images), digits.target, domains


def _enlarge(glyph: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(glyph).resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def _deal(labels: NDArray, count: int, name: str) -> NDArray[np.int64]:
    """Assign the images of each class to the domains in turn, in random order."""
    rng = np.random.default_rng(seed_for(name, "deal"))
    domains = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        domains[members] = np.arange(len(members)) % count
    return domains
