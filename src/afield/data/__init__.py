"""Images with classes and domains: where they come from, how they are cached, how they are split."""

from afield.data.catalog import DATASETS, load
from afield.data.images import ImageSet
from afield.data.splits import Fold, Unlabeled, Validation, make_fold, parts_of

__all__ = ["DATASETS", "Fold", "ImageSet", "Unlabeled", "Validation", "load", "make_fold", "parts_of"]
