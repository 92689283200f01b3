"""Every registry by the name that ``afield list`` knows it by."""

from __future__ import annotations

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.augment import AUGMENTATIONS
from afield.augmentors import AUGMENTORS
from afield.data import DATASETS
from afield.evaluation import SELECTIONS
from afield.experiments.recipes import RECIPES
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.models import BACKBONES
from afield.registry import Registry
from afield.training import PROTOCOLS

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
    "protocols": PROTOCOLS,
    "selections": SELECTIONS,
}
