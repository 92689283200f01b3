"""Images with classes and domains: where they come from, how they are cached, how they are split."""

from afield.data.catalog import DATASETS as DATASETS, load as load
from afield.data.images import ImageSet as ImageSet
from afield.data.splits import Fold as Fold, Validation as Validation, make_fold as make_fold, parts_of as parts_of
