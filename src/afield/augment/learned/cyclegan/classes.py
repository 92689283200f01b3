"""The classes between which a CycleGAN translates, and how often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from afield.augment import CycleGanConfig
from afield.augment.learned.cyclegan.settings import CycleGanSettings
from afield.errors import InputError, unknown_name
from afield.training import Subset


def choose_classes(settings: CycleGanSettings, train: Subset, class_names: Sequence[str]) -> CycleGanConfig:
    """Choose the reference, the targets and the probabilities from the settings and the training images.

    Raises:
        InputError: if a class is unknown, has no training images or is both reference and target, or if no target is
            named and no class has fewer than half as many training images as the reference.
    """
    counts = np.bincount(train.labels[train.indices], minlength=len(class_names))
    reference = int(counts.argmax()) if settings.reference is None else _index(settings.reference, counts, class_names)
    if settings.targets is None:
        targets = np.flatnonzero((counts > 0) & (2 * counts < counts[reference])).tolist()
        if not targets:
            raise InputError(
                f"no class has fewer than half as many training images as {class_names[reference]!r} "
                f"({counts[reference]}), so that none is a target of the translation; name one with the setting targets"
            )
    else:
        targets = list(dict.fromkeys(_index(name, counts, class_names) for name in settings.targets.split(",")))
    if reference in targets:
        raise InputError(f"class {class_names[reference]!r} is the reference of the translation and one of its targets")
    shares = target_probabilities(int(counts[reference]), counts[targets], settings.probability)
    return CycleGanConfig(
        class_names=tuple(class_names),
        reference=class_names[reference],
        probabilities={class_names[target]: share for target, share in zip(targets, shares, strict=True)},
        network=settings.network,
    )


def target_probabilities(reference: int, targets: NDArray[np.int64], probability: float | None = None) -> list[float]:
    """The probabilities that an image of the reference becomes one of each target.

    The expected numbers of images of the targets are raised to a common level, as far as they are below it.

    Args:
        reference: number of images of the reference.
        targets: number of images of each target.
        probability: sum of the result. None: the reference comes down to the same level.
    """
    ascending = np.sort(targets)
    raised = 1 + np.arange(len(targets))
    if probability is None:
        level = ((reference + ascending.cumsum()) / (raised + 1)).min()
    else:
        level = ((probability * reference + ascending.cumsum()) / raised).min()
    return (np.maximum(level - targets, 0) / reference).tolist()


def _index(name: str, counts: NDArray[np.int64], class_names: Sequence[str]) -> int:
    if name not in class_names:
        unknown_name("class of the translation:", name, class_names)
    index = list(class_names).index(name)
    if not counts[index]:
        raise InputError(f"class {name!r} has no training images, which a translation needs")
    return index
