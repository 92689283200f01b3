"""Checks of data sets."""

from collections.abc import Callable

import numpy as np

from afield.data import ImageSet, Validation, make_fold, parts_of
from afield.data.images import SPLITS, pixel_digests
from afield.names import checked_name

LoadDataSet = Callable[[], ImageSet]


def check_data_set(load: LoadDataSet) -> None:
    """All checks of a data set, a function that returns an `ImageSet`."""
    for check in DATA_SET_CHECKS:
        check(load)


def has_arrays_that_fit_together(load: LoadDataSet) -> None:
    """Arrays have the documented dtypes and shapes, indices name a class and a domain, and digests are right."""
    data = load()
    count, names = len(data.labels), (data.class_names, data.domain_names)
    assert isinstance(data, ImageSet)
    assert data.images.dtype == np.uint8
    assert data.images.ndim == 4
    assert data.images.shape[-1] == 3
    assert len({len(data.images), len(data.domains), len(data.digests), len(data.paths), len(data.given), count}) == 1
    for indices, allowed in zip((data.labels, data.domains), names, strict=True):
        assert indices.dtype == np.int64
        assert set(np.unique(indices)) <= set(range(len(allowed)))
    assert set(np.unique(data.given)) <= set(range(-1, len(SPLITS)))
    some = slice(0, 100)
    assert np.array_equal(data.digests[some], pixel_digests(data.images[some])), "digests are not those of the pixels"


def has_classes_and_names(load: LoadDataSet) -> None:
    """There are two classes or more, all of them have images, and names can be shown and are different."""
    data = load()
    assert len(data.class_names) > 1
    assert len(np.unique(data.labels)) == len(data.class_names), "a class has no images"
    for kind, names in (("class", data.class_names), ("domain", data.domain_names)):
        assert len(set(names)) == len(names)
        assert [checked_name(name, kind) for name in names] == list(names)


def is_deterministic(load: LoadDataSet) -> None:
    """Two calls give the same data."""
    assert load().fingerprint == load().fingerprint


def can_be_split(load: LoadDataSet) -> None:
    """Each part can be held out, and leaves training and validation images."""
    data = load()
    for part in parts_of(data):
        fold = make_fold(data, (part,), Validation(0.1), seed=0)
        assert min(map(len, (fold.train, fold.val, fold.tests[part]))) > 0
        assert not set(fold.train) & set(fold.tests[part])


DATA_SET_CHECKS = (has_arrays_that_fit_together, has_classes_and_names, is_deterministic, can_be_split)
"""The checks of `check_data_set`."""
