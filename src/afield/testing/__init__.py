"""Common checks of losses, heads, algorithms, augmentations, backbones and data sets. They raise `AssertionError`.

They are the checks of afield's own parts, for the tests of a package that provides parts by entry points:

>>> from afield.losses import focal
>>> from afield.testing import check_loss
>>> check_loss(focal)
"""

from afield.testing.algorithms import ALGORITHM_CHECKS as ALGORITHM_CHECKS, check_algorithm as check_algorithm
from afield.testing.augmentations import (
    AUGMENTATION_CHECKS as AUGMENTATION_CHECKS,
    check_augmentation as check_augmentation,
)
from afield.testing.backbones import BACKBONE_CHECKS as BACKBONE_CHECKS, check_backbone as check_backbone
from afield.testing.data_sets import DATA_SET_CHECKS as DATA_SET_CHECKS, check_data_set as check_data_set
from afield.testing.entries import check_entry as check_entry, check_named_in_paper as check_named_in_paper
from afield.testing.heads import HEAD_CHECKS as HEAD_CHECKS, check_head as check_head
from afield.testing.losses import LOSS_CHECKS as LOSS_CHECKS, check_loss as check_loss
