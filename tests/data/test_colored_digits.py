"""The colored digits: in each domain the background predicts the class, and in another domain another class."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv

from afield.data import load
from afield.data.colored_digits import INKS, SHIFTS
from afield.data.leaks import leaks


@pytest.fixture(scope="module")
def data():
    return load("colored_digits")


def hues(data):
    """The index of the hue of each image, that of its brightest pixel."""
    pixels = data.images.reshape(len(data), -1, 3)
    brightest = pixels[np.arange(len(data)), pixels.sum(axis=2, dtype=int).argmax(axis=1)]
    return (10 * rgb_to_hsv(brightest / 255)[:, 0]).round().astype(int) % 10


def test_they_are_the_digits_in_four_domains_without_leaks(data, digits):
    assert data.images.shape == digits.images.shape
    assert (data.labels == digits.labels).all()
    assert data.domain_names == tuple(INKS)
    assert np.bincount(data.domains).min() > 440
    assert not data.flippable
    assert leaks(data) == []


def test_the_color_alone_is_always_right_in_its_domain_and_never_in_another(data):
    found = hues(data)
    for domain in range(4):
        inside = data.domains == domain
        for other, shift in enumerate(SHIFTS):
            right = (found[inside] - shift) % 10 == data.labels[inside]
            assert right.mean() == (other == domain), (domain, other)


def test_the_shape_is_that_of_the_digit_in_the_ink_of_the_domain(data, digits):
    paper = digits.domains == digits.domain_names.index("paper")
    for i in np.flatnonzero(paper)[:20]:
        gray = 255 - data.images[i].astype(float).mean(axis=2)
        assert np.corrcoef(gray.ravel(), 255.0 - digits.images[i, :, :, 0].ravel())[0, 1] > 0.95
    for domain, ink in enumerate(INKS.values()):
        darkest = data.images[data.domains == domain].reshape(-1, 3)
        darkest = darkest[darkest.sum(axis=1, dtype=int).argmin()]
        assert np.abs(darkest - np.array(ink)).max() <= 2
