"""Every registry by the name that ``afield list`` knows it by."""

from __future__ import annotations

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.augment import AUGMENTATIONS
from afield.augment.learned import AUGMENTORS
from afield.data import DATASETS
from afield.evaluation import SELECTIONS
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.models import BACKBONES
from afield.recipes.recipe import RECIPES
from afield.registry import Registry
from afield.training import PRESETS

REGISTRIES: dict[str, Registry] = {
    "recipes": RECIPES,
    "algorithms": ALGORITHMS,
    "averagings": AVERAGINGS,
    "losses": LOSSES,
    "heads": HEADS,
    "augmentations": AUGMENTATIONS,
    "augmentors": AUGMENTORS,
    "backbones": BACKBONES,
    "datasets": DATASETS,
    "presets": PRESETS,
    "selections": SELECTIONS,
}
