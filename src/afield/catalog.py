"""All registries, by the names in ``afield list``."""

from afield.adaptation import ADAPTATIONS
from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.augment import AUGMENTATIONS
from afield.augment.learned import AUGMENTORS
from afield.combinations import COMBINATIONS
from afield.data import DATASETS
from afield.deprecated import current
from afield.errors import unknown_name
from afield.evaluation import METRICS, SELECTIONS
from afield.heads import HEADS
from afield.labeling import STRATEGIES
from afield.losses import LOSSES
from afield.models import BACKBONES
from afield.recipes import RECIPES
from afield.registry import Registry
from afield.settings import PRESETS

REGISTRIES: dict[str, Registry] = {
    "recipes": RECIPES,
    "algorithms": ALGORITHMS,
    "averagings": AVERAGINGS,
    "adaptations": ADAPTATIONS,
    "combinations": COMBINATIONS,
    "losses": LOSSES,
    "heads": HEADS,
    "augmentations": AUGMENTATIONS,
    "augmentors": AUGMENTORS,
    "backbones": BACKBONES,
    "datasets": DATASETS,
    "presets": PRESETS,
    "selections": SELECTIONS,
    "metrics": METRICS,
    "strategies": STRATEGIES,
}


def chosen(kind: str) -> dict[str, Registry]:
    """The registry of a kind, by its name in the plural or singular; all registries for ``all``.

    Raises:
        InputError: if the kind is unknown.
    """
    kind = current("kind", kind)
    kind = next((name for name, registry in REGISTRIES.items() if kind in (name[:-1], registry.kind)), kind)
    if kind not in ("all", *REGISTRIES):
        unknown_name("kind", kind, ("all", *REGISTRIES))
    return REGISTRIES if kind == "all" else {kind: REGISTRIES[kind]}
