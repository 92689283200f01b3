"""DAGAN: a generator of variants learns against a critic that compares them with other images of the class.

The critic takes pairs of an image and another one of its class as real, and pairs of an image and its variant as
fake. An image that is the only one of its class is left out.
"""

from __future__ import annotations

from afield.augment.learned.dagan.game import DaganGame
from afield.augment.learned.dagan.measures import measure_variants
from afield.augment.learned.dagan.pairs import Pairs
from afield.augment.learned.dagan.settings import DaganSettings
from afield.augment.learned.loop import Examples
from afield.augment.learned.registry import AUGMENTORS, Method
from afield.evaluation import diagnose_dagan
from afield.training import Subset


def image_pairs(train: Subset) -> Examples:
    """See `Pairs.take`."""
    pairs = Pairs(train)
    return Examples(len(pairs), pairs.take)


learn_dagan = AUGMENTORS.add(
    "dagan",
    Method(DaganSettings, DaganGame, image_pairs, measure_variants, diagnose_dagan),
    summary="Variants of an image by a small generator that learned from pairs of a class.",
    reference="Antoniou et al., Data Augmentation Generative Adversarial Networks, 2017.",
).learn
