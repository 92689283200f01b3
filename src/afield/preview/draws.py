"""Images before and after an augmentation, and statistics of its transformations."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from afield.augment import AffineParams, Augmentation, Visit, decompose, in_words, sample_at
from afield.comparison.analysis import thumbnail
from afield.data import ImageSet
from afield.pixels import to_array, to_batch
from afield.records import seed_for
from afield.reporting.augmentation import Draw, Range, Subject

DRAWS = 6
MEASURED = 256
"""Number of images in the statistics of transformations, with one sample each."""


def subjects(data: ImageSet, augmentation: Augmentation, *, count: int, seed: int) -> list[Subject]:
    """Random images from all domains in turn, each with six augmented versions.

    All images form one batch, so that mixing augmentations only mix images of the preview. Each version is that of
    another epoch.
    """
    rng = np.random.default_rng(seed_for("augmentation shown", seed))
    chosen = _in_turn(data.domains, rng)[:count]
    images, generator = to_batch(data.images[chosen]), Generator().manual_seed(seed_for("augmentation draws", seed))
    size = data.images.shape[1:3]
    indices, targets = torch.from_numpy(chosen), torch.from_numpy(data.labels[chosen])
    visits = [Visit(indices, epoch, seed, targets) for epoch in range(DRAWS)]
    params = [sample_at(augmentation, images, generator, visit) for visit in visits]
    augmented = [to_array(augmentation.apply(images, drawn)) for drawn in params]
    found = []
    for row, index in enumerate(chosen):
        draws = [Draw(thumbnail(a[row]), in_words(p, row, size)) for p, a in zip(params, augmented, strict=True)]
        found.append(Subject(thumbnail(data.images[index]), _caption(data, index), tuple(draws)))
    return found


def ranges(data: ImageSet, augmentation: Augmentation, *, seed: int) -> list[Range]:
    """The median and the central 90 % of the parameters of an affine augmentation over images.

    For other augmentations, the list is empty.
    """
    rng = np.random.default_rng(seed_for("augmentation measured", seed))
    chosen = rng.permutation(len(data))[:MEASURED]
    generator = Generator().manual_seed(seed_for("augmentation measured draws", seed))
    params = augmentation.sample(to_batch(data.images[chosen]), generator)
    if not isinstance(params, AffineParams):
        return []
    found = decompose(params.theta, *data.images.shape[1:3])
    named = {
        "rotation, degrees": found.rotation,
        "width, factor": found.scale_x,
        "height, factor": found.scale_y,
        "shear": found.shear,
        "shift to the right, pixels": found.shift_x,
        "shift down, pixels": found.shift_y,
    }
    return [Range(name, *np.quantile(numbers.double(), (0.05, 0.5, 0.95)).tolist()) for name, numbers in named.items()]


def _in_turn(domains: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All indices in random order, alternating between domains."""
    order = rng.permutation(len(domains))
    turn = np.empty(len(order), dtype=np.int64)
    for domain in np.unique(domains):
        turn[domains[order] == domain] = np.arange((domains == domain).sum())
    return order[np.argsort(turn, kind="stable")]


def _caption(data: ImageSet, index: int) -> str:
    name = data.class_names[data.labels[index]]
    return f"{name}, {data.domain_names[data.domains[index]]}" if data.has_domains else name
