"""Data sets of images with classes and domains: sources, caches and splits."""

from afield.data.catalog import DATASETS as DATASETS, load as load
from afield.data.images import ImageSet as ImageSet
from afield.data.splits import (
    Fold as Fold,
    Unlabeled as Unlabeled,
    Validation as Validation,
    make_fold as make_fold,
    parts_of as parts_of,
)
