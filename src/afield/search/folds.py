"""The folds of a search, each with a classifier that is trained on the other folds."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afield.classifier import Classifier
from afield.data import ImageSet, parts_of
from afield.data.images import SPLITS
from afield.data.splits import deal
from afield.errors import InputError, unknown_name
from afield.fabric import Fabric
from afield.recipes import Recipe
from afield.records import Record, seed_for
from afield.runs.build import build_classifier
from afield.runs.callback import Callback
from afield.runs.config import ExperimentConfig
from afield.runs.execute import execute
from afield.runs.run import Run
from afield.training import Subset, checkpoint

WEIGHTS = "classifier.safetensors"


@dataclass(frozen=True)
class SearchFold:
    """A trained classifier, and images that were not used for its training.

    Attributes:
        folder: folder of the run that trained it.
        record: record of that run.
        classifier: classifier in evaluation mode, at its best validation epoch.
        unseen: images that were not used for training.
    """

    folder: Path
    record: Record
    classifier: Classifier
    unseen: Subset


def searched_images(data: ImageSet, held_out: Sequence[str]) -> ImageSet:
    """The images for the search: all images except a given test set and the held-out domains.

    Raises:
        InputError: if a domain is unknown or no image is left.
    """
    domains = data.domain_names if data.has_domains else ()
    for name in held_out:
        if name not in domains:
            unknown_name("domain to hold out", name, domains)
    out = np.isin(data.domains, [data.domain_names.index(name) for name in held_out])
    kept = np.flatnonzero(~out & (data.given != SPLITS.index("test")))
    if not len(kept):
        raise InputError(f"no images are left for the search after holding out {', '.join(held_out)}")
    return data.subset(kept)


def fold_runs(setup: ExperimentConfig, recipe: Recipe, folds: int, seed: int) -> list[Run]:
    """Create a run for each fold, with the fold as test set. Folds are stratified by class and domain.

    All images of a group are in one fold.

    Raises:
        InputError: if there are fewer images than folds.
    """
    data = setup.data
    if len(data) < folds:
        raise InputError(f"--folds {folds} needs at least {folds} images, got {len(data)}")
    strata = data.domains * len(data.class_names) + data.labels
    part = deal(strata, folds, np.random.default_rng(seed_for("search folds", seed)), data.groups)
    runs = []
    for fold in range(folds):
        given = np.where(part == fold, SPLITS.index("test"), SPLITS.index("train")).astype(np.int8)
        one = dataclasses.replace(
            data, domains=np.zeros_like(data.domains), domain_names=(Path(data.name).name,), given=given
        )
        runs.append(Run(dataclasses.replace(setup, data=one), recipe, parts_of(one), seed))
    return runs


def trained_fold(run: Run, folder: Path, fabric: Fabric, callback: Callback) -> SearchFold:
    """Train the classifier of a fold, or load it if it is finished. An interrupted training is resumed.

    Raises:
        InputError: if the run diverges.
    """
    record = execute(
        run,
        folder,
        fabric,
        callback=callback,
        on_trained=lambda _, progress: checkpoint.save(folder / WEIGHTS, progress.best, {}),
    )
    classifier = build_classifier(run.setup, run.recipe, run.seed)
    classifier.load_state_dict(checkpoint.load(folder / WEIGHTS)[0])
    data = run.setup.data
    unseen = np.flatnonzero(data.given == SPLITS.index("test"))
    return SearchFold(folder, record, classifier.eval().to(fabric.device), Subset(data.images, data.labels, unseen))
