"""The embedded digits: four places, each original image in one of them, the same everywhere."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from afield.data import load
from afield.data.leaks import leaks
from afield.runs.config import keep_class
from afield.training import TrainConfig


def test_there_are_1797_images_of_ten_digits_in_four_places(digits):
    assert (digits.images.shape, digits.images.dtype) == ((1797, 16, 16, 3), np.uint8)
    assert digits.class_names == tuple("0123456789")
    assert digits.domain_names == ("faded", "paper", "slanted", "wall")
    assert (digits.labels == load_digits().target).all()
    assert digits.describe().startswith("digits: 1,797 images")


def test_each_digit_is_dealt_evenly_over_the_places(digits):
    for label in range(10):
        counts = np.bincount(digits.domains[digits.labels == label], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_no_two_images_are_equal_and_nothing_leaks(digits):
    assert len(set(digits.digests.tolist())) == 1797
    assert leaks(digits) == []


def test_a_fresh_process_makes_the_same_images(digits):
    code = "from afield.data.digits import load; print(load().fingerprint)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == digits.fingerprint


def test_changes_of_the_images_do_not_reach_those_who_load_them_later(digits):
    changed = load("digits")
    for array in (changed.images, changed.labels, changed.domains):
        array[:] = 0
    again = load("digits")
    assert again.fingerprint == digits.fingerprint
    assert (again.images == digits.images).all()
    assert (again.labels == digits.labels).all()
    assert (again.domains == digits.domains).all()


def test_the_paper_is_the_original_in_dark_ink(digits):
    originals = load_digits().images
    inside = np.flatnonzero(digits.domains == digits.domain_names.index("paper"))
    for i in inside[:20]:
        ink = 255 - digits.images[i, :, :, 0].astype(float)
        small = ink.reshape(8, 2, 8, 2).mean(axis=(1, 3))
        assert np.corrcoef(small.ravel(), originals[i].ravel())[0, 1] > 0.9
        assert (digits.images[i] == digits.images[i][..., :1]).all()


def test_the_places_look_different(digits):
    means = [digits.images[digits.domains == d].reshape(-1, 3).mean(axis=0) for d in range(4)]
    spreads = [digits.images[digits.domains == d].std(axis=(1, 2, 3)).mean() for d in range(4)]
    looks = np.column_stack([means, spreads])
    paper, slanted = digits.domain_names.index("paper"), digits.domain_names.index("slanted")
    for first in range(4):
        for second in range(first):
            if {first, second} != {paper, slanted}:  # these two differ by a turn only
                assert np.abs(looks[first] - looks[second]).max() > 10


def test_a_mirrored_digit_is_not_that_digit(digits):
    assert not digits.flippable


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("crop_flip", "crop"),
        ("crop_flip_jitter+cutout", "crop+cutout"),
        ("randaugment", "randaugment"),
        ("none", "none"),
    ],
)
def test_a_preset_mirrors_no_digits(digits, given, kept):
    assert keep_class(TrainConfig(augment=given), digits).augment == kept
