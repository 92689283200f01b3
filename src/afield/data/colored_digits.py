"""The default data set of a comparison: digits whose background predicts the class, differently in each domain."""

import colorsys

import numpy as np
from PIL import Image

from afield.data.digits import rendered
from afield.data.images import ImageSet

INKS = {"black": (20, 20, 20), "blue": (20, 30, 110), "brown": (85, 45, 15), "green": (10, 70, 30)}
"""The domains, and the color of the ink of each."""

SHIFTS = (0, 3, 5, 8)
"""Of ten background hues, class k has hue k + shift in each domain. No two domains agree on a class."""

SATURATION = 0.45


def load() -> ImageSet:
    """Load 1,797 digits as RGB images, 16 x 16 pixels, in four domains. Deterministic.

    In each domain, the color of the background predicts the class, as a shortcut that a network learns. In another
    domain the same color belongs to another class. This is the situation of camera traps, where the animals of a site
    stand in front of its plants.

    References:
        Arjovsky et al., "Invariant Risk Minimization", 2019, section 5.2 (Colored MNIST); Geirhos et al., "Shortcut
        Learning in Deep Neural Networks", 2020. The digits are those of `afield.data.digits`.
    """
    return rendered("colored_digits", tuple(INKS), _on_color)


def _on_color(glyph: Image.Image, label: int, domain: int, rng: np.random.Generator) -> Image.Image:
    hue = ((label + SHIFTS[domain]) % 10 + rng.uniform(-0.3, 0.3)) / 10
    background = 255 * np.array(colorsys.hsv_to_rgb(hue, SATURATION, rng.uniform(0.85, 1.0)))
    ink = np.array([*INKS.values()][domain])
    opacity = np.asarray(glyph, dtype=float)[..., None] / 255
    return Image.fromarray((background * (1 - opacity) + ink * opacity).round().astype(np.uint8))
