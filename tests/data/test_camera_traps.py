"""A table of camera-trap images: a random split leaks, a split of groups does not, and the leak check says so."""

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from afield.data import Validation, load, make_fold, parts_of
from afield.data.leaks import leaks
from examples.camera_traps import SITES, write

SIZE = 32


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("traps"))


@pytest.fixture(scope="module")
def loaded(table, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFIELD_CACHE", str(tmp_path_factory.mktemp("cache")))
        options = {"plain": ("group=",), "grouped": ()}
        return {
            name: load(str(table), columns=("domain=", *columns), image_size=SIZE) for name, columns in options.items()
        }


def accuracy(train, test):
    """Accuracy of the nearest neighbor of (images, labels) of `train` for those of `test`."""
    flat = [images[:, ::2, ::2].reshape(len(images), -1) / 255.0 for images, _ in (train, test)]
    return KNeighborsClassifier(1).fit(flat[0], train[1]).score(flat[1], test[1])


def cross_validated(data, seed):
    found = []
    for part in parts_of(data):
        fold = make_fold(data, [part], Validation(), seed)
        train, test = np.concatenate([fold.train, fold.val]), fold.tests[part]
        found.append(accuracy((data.images[train], data.labels[train]), (data.images[test], data.labels[test])))
    return float(np.mean(found))


def test_a_random_split_leaks_and_a_split_of_groups_predicts_new_bursts(loaded, tmp_path):
    plain, grouped = loaded["plain"], loaded["grouped"]
    new = load(str(write(tmp_path / "later", seed=1)), columns=("domain=",), image_size=SIZE)
    truth = accuracy((plain.images, plain.labels), (new.images, new.labels))
    random = np.mean([cross_validated(plain, seed) for seed in range(2)])
    ours = np.mean([cross_validated(grouped, seed) for seed in range(2)])
    assert random > 0.95
    assert truth < 0.5
    assert abs(ours - truth) < 0.1


def test_the_leak_check_says_so_without_a_group_column_and_is_silent_with_one(loaded):
    (line,) = leaks(loaded["plain"])
    count = int(line.split()[1])
    assert count > 0.8 * len(loaded["plain"])
    assert "have near duplicates in the data, such as B" in line
    assert "test folds and validation images will be too easy; keep near duplicates together with --group" in line
    rest = leaks(loaded["grouped"])
    assert sum(int(line.split()[1]) for line in rest) < 0.1 * len(loaded["grouped"])


def test_groups_of_near_duplicates_are_the_bursts(table, loaded):
    found = load(str(table), columns=("domain=", "group="), group="near-duplicates", image_size=SIZE)
    bursts = loaded["grouped"].groups
    pairs = [(a, b) for a in range(len(found)) for b in range(a) if found.groups[a] == found.groups[b]]
    right = np.mean([bursts[a] == bursts[b] for a, b in pairs])
    together = np.mean(
        [found.groups[a] == found.groups[a - 1] for a in range(1, len(found)) if bursts[a] == bursts[a - 1]]
    )
    assert right > 0.9
    assert together > 0.9


def test_rotated_and_gray_files_and_names_with_umlauts_are_read(table, loaded):
    data = load(str(table), image_size=SIZE)
    assert data.domain_names == tuple(sorted(SITES))
    sizes = np.bincount(data.domains)
    assert sizes.max() > 4 * sizes.min()
    assert "Moor: " in data.describe()
    assert "(no fox)" in data.describe()
    files = [Image.open(table.parent / path) for path in data.paths]
    assert {file.mode for file in files} == {"L", "RGB"}
    assert {file.size for file in files} == {(96, 72), (72, 96)}
    assert (loaded["grouped"].groups == data.groups).all()
    for part in parts_of(data):
        fold = make_fold(data, [part], Validation(), 0)
        assert set(data.groups[fold.train]).isdisjoint(data.groups[fold.val])
