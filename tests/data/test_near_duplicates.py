"""Near duplicates: bursts are found and different images are not, in linear time; the leak check says what follows."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from afield.data.images import pixel_digests
from afield.data.leaks import leaks
from afield.data.near_duplicates import MAX_BITS, near_duplicate_groups, near_duplicates, similar_hashes
from tests.data.test_splits import image_set

RNG = np.random.default_rng(0)


def scene(rng, size=96):
    """A picture with structure: smooth noise in three colors."""
    smooth = np.stack([gaussian_filter(rng.normal(0, 1, (size, size)), size / 10) for _ in range(3)], axis=-1)
    return (128 + 60 * smooth / smooth.std()).clip(0, 255)


def with_images(images, domains=None, given=None):
    images = np.stack(images).clip(0, 255).astype(np.uint8)
    data = image_set([i % 2 for i in range(len(images))], domains, given)
    return replace(data, images=images, digests=pixel_digests(images))


CHANGES = {
    "noise": lambda image, rng: image + rng.normal(0, 8, image.shape),
    "light": lambda image, rng: 0.85 * image + 20,
    "gray": lambda image, rng: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2),
    "shift": lambda image, rng: np.roll(image, 1, axis=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_a_near_duplicate_and_another_scene_is_not(change):
    rng = np.random.default_rng(1)
    scenes = [scene(rng) for _ in range(40)]
    data = with_images([*scenes, *(CHANGES[change](image, rng) for image in scenes)])
    pairs = {tuple(pair) for pair in near_duplicates(data).tolist()}
    expected = {(i, i + 40) for i in range(40)}
    assert pairs <= expected
    assert len(pairs) >= 38


def test_images_without_structure_have_no_near_duplicates():
    data = with_images([np.full((96, 96, 3), 10 + i % 3) for i in range(20)])
    assert len(near_duplicates(data)) == 0


def test_small_images_have_no_near_duplicates():
    image = scene(np.random.default_rng(0), 24)
    assert len(near_duplicates(with_images([image, image]))) == 0


def test_groups_connect_the_images_of_a_burst_through_their_neighbors():
    rng = np.random.default_rng(2)
    bursts = [scene(rng) for _ in range(5)]
    frames = [np.roll(image, step, axis=1) + rng.normal(0, 3, image.shape) for image in bursts for step in range(4)]
    groups = near_duplicate_groups(with_images(frames))
    assert len(set(groups.tolist())) == 5
    assert (groups.reshape(5, 4) == groups[::4, None]).all()


def flips(rng, count):
    """A number with this number of bits set."""
    return np.uint64(sum(1 << int(bit) for bit in rng.choice(64, count, replace=False)))


def brute_force(hashes):
    bits = np.unpackbits(hashes.view(np.uint8).reshape(len(hashes), 8), axis=1).astype(np.int64)
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    first, second = np.nonzero(np.triu(distance <= MAX_BITS, 1))
    return np.stack([first, second], axis=1).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_few_hashes_are_compared_exactly(count):
    rng = np.random.default_rng(count)
    base = rng.integers(0, 2**63, 3, dtype=np.uint64)
    hashes = base[rng.integers(0, 3, count)] ^ np.array([flips(rng, k) for k in rng.integers(0, 9, count)], np.uint64)
    assert similar_hashes(hashes).tolist() == brute_force(hashes)


def test_pairs_among_a_hundred_thousand_hashes_are_found_in_seconds():
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**63, 100_000, dtype=np.uint64)
    planted = rng.permutation(100_000)[:2000].reshape(1000, 2)
    for first, second in planted:
        hashes[second] = hashes[first] ^ flips(rng, 4)
    hashes[rng.permutation(100_000)[:20_000]] = 0  # many images with one hash are not compared with each other
    start = time.process_time()
    codes = {tuple(pair) for pair in similar_hashes(hashes).tolist()}
    assert time.process_time() - start < 30
    left = [tuple(sorted(pair)) for pair in planted.tolist() if hashes[pair].all()]
    assert np.mean([pair in codes for pair in left]) > 0.99
    assert len(codes) < 20_000 * 40


@pytest.fixture
def frames():
    """Six bursts of four images."""
    rng = np.random.default_rng(4)
    scenes = [scene(rng) for _ in range(6)]
    return [image + rng.normal(0, 4, image.shape) for image in scenes for _ in range(4)]


def test_near_duplicates_within_the_data_are_reported_with_what_they_do_to_folds(frames):
    data = with_images(frames)
    (line,) = leaks(data)
    assert line == (
        "leakage: 24 of 24 images have near duplicates in the data, such as 0 and 1; test folds and validation images "
        "will be too easy; keep near duplicates together with --group near-duplicates, or bursts with --group COLUMN"
    )
    assert leaks(replace(data, groups=np.arange(24) // 4)) == []
    assert "4 of 24 images" in leaks(replace(data, groups=np.array([0, 1, 2, 3] + [4 + i // 4 for i in range(20)])))[0]


def test_near_duplicates_in_two_domains_are_reported(frames):
    data = with_images(frames, ["a"] * 14 + ["b"] * 10)
    across, within = leaks(data)
    assert across == (
        "leakage: 4 of 24 images have near duplicates in another domain, such as 12 and 14; "
        "the accuracy will be higher than in a new place"
    )
    assert "24 of 24 images have near duplicates in the same domain, such as 0 and 1; validation images will" in within


def test_near_duplicates_in_train_and_test_are_reported(frames):
    data = with_images(frames, given=[0] * 18 + [2] * 6)
    across, within = leaks(data)
    assert "4 of 24 images have near duplicates in the other of train and test, such as 16 and 18" in across
    assert "in the same split" in within


def test_equal_pixels_of_one_group_are_no_leak(frames):
    data = with_images([frames[0], frames[0], frames[4], frames[4]], list("abab"))
    assert leaks(data)[0] == "leakage: 2 images with the same pixels in a and b"
    assert leaks(replace(data, groups=np.array([0, 0, 1, 1]))) == []


def test_the_pairs_are_cached_and_a_damaged_cache_is_made_again(frames, monkeypatch, tmp_path):
    monkeypatch.setenv("AFIELD_CACHE", str(tmp_path))
    data = with_images(frames)
    expected = near_duplicates(data).tolist()
    (file,) = (tmp_path / "near-duplicates").iterdir()
    for content in (file.read_bytes(), b"damaged", file.read_bytes()[:50]):
        file.write_bytes(content)
        assert near_duplicates(data).tolist() == expected
