"""Image sets: from given splits, subsets, and where decoded images are kept."""

import numpy as np

from afield.data import ImageSet
from afield.data.cache import cache_root
from afield.data.images import pixel_digests

PIXELS = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)


def made():
    return ImageSet.from_splits("my set.npz", PIXELS, {"train": np.array([1, 0, 1]), "test": np.array([0, 1])}, "ab")


def test_given_splits_are_joined_in_their_order():
    data = made()
    assert (data.labels.tolist(), data.labels.dtype) == ([1, 0, 1, 0, 1], np.int64)
    assert data.given.tolist() == [0, 0, 0, 2, 2]
    assert data.paths == ("train/0", "train/1", "train/2", "test/0", "test/1")
    assert (data.class_names, data.domain_names, data.has_domains) == (("a", "b"), ("my set",), False)
    assert (data.digests == pixel_digests(PIXELS)).all()


def test_a_subset_keeps_order_names_and_whatever_belongs_to_each_image():
    data = made()
    found = data.subset(np.array([4, 0]))
    assert (found.images == PIXELS[[4, 0]]).all()
    assert (found.labels.tolist(), found.given.tolist(), found.paths) == ([1, 1], [2, 0], ("test/1", "train/0"))
    assert (found.digests == data.digests[[4, 0]]).all()
    assert found.class_names == data.class_names
    assert data.subset(np.arange(5)).images is data.images  # a memory map is not copied
    assert data.subset(np.arange(5)).fingerprint == data.fingerprint
    assert data.subset(np.arange(5)[::-1]).labels.tolist() == [1, 0, 1, 0, 1]


def test_the_cache_is_where_the_user_says_or_in_the_cache_folder_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("AFIELD_CACHE", str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"
    monkeypatch.delenv("AFIELD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_root() == tmp_path / "afield"
