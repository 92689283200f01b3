"""Splits of a data set into training, validation and test images: one `Fold` per held-out domain."""

from afield.data.splits.fold import Fold as Fold, make_fold as make_fold, parts_of as parts_of
from afield.data.splits.groups import deal as deal
from afield.data.splits.unlabeled import Unlabeled as Unlabeled
from afield.data.splits.validation import Validation as Validation, split_validation as split_validation
