"""A training run, defined by recipe, seed and held-out parts; its data and its initial classifier."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.data import Fold, make_fold
from afield.fabric import Fabric
from afield.recipes import Recipe
from afield.records import run_hash, seed_for
from afield.runs.adapting import standardized, standardizes
from afield.runs.augmentation import augmentation_names
from afield.runs.build import build_classifier, build_head_classifier
from afield.runs.classes import set_classes
from afield.runs.config import ExperimentConfig
from afield.training import Splits, Subset, TrainConfig, resident
from afield.types import IGNORE_INDEX, SeesImages

SEEN = 5000
"""Largest number of training images for a backbone that computes weights from images (`SeesImages`)."""

Measure = Callable[["Run", Classifier, Augmentation], dict[str, Any]]
"""Maps a run, its classifier at the best validation epoch and its augmentation to details of the record."""


@dataclass(frozen=True)
class Run:
    """A training of one recipe with one seed, without the held-out parts.

    Attributes:
        setup: configuration shared with other runs.
        recipe: recipe to train.
        held_out: held-out parts, used for testing.
        seed: seed of split, initialization, order, augmentation and dropout.
        member: number among the runs that a combination joins. Member 0 is the run itself; the others have the same
            split, and random choices of their own.
        measure: adds details to the record without changing the result.
        may_diverge: whether a diverged run has a record without epochs. Otherwise it raises `DivergedError`.
        keep_weights: whether the weights of the best epoch are kept in the folder of the run.
    """

    setup: ExperimentConfig
    recipe: Recipe
    held_out: tuple[str, ...]
    seed: int
    member: int = 0
    measure: Measure | None = field(default=None, compare=False)
    may_diverge: bool = field(default=False, compare=False)
    keep_weights: bool = field(default=False, compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """All settings that determine the result, JSON-serializable."""
        return {
            **self.setup.config(),
            "recipe": self.recipe.config(),
            "held_out": list(self.held_out),
            "seed": self.seed,
            **({"member": self.member} if self.member else {}),
        }

    @property
    def training_seed(self) -> int:
        """The seed of order, augmentation, dropout and algorithm."""
        return seed_for("member", self.seed, self.member) if self.member else self.seed

    @property
    def init_seed(self) -> int:
        """The seed of the initial weights. Members that share a start have the same one."""
        return self.training_seed if self.recipe.start is None else self.seed

    @property
    def training(self) -> TrainConfig:
        """The training settings, including those of the recipe."""
        return self.recipe.train_config(self.setup.training)

    @property
    def augment(self) -> str:
        """The names of the augmentation."""
        return augmentation_names(self.setup, self.recipe)

    @property
    def num_domains(self) -> int:
        """The number of training domains."""
        data, train = self.setup.data, self.setup.train_domains
        return len(set(train or data.domain_names) - set(self.held_out)) if data.has_domains else 1

    def fold(self) -> Fold:
        """The split of the images."""
        setup = self.setup
        return make_fold(setup.data, self.held_out, setup.validation, self.seed, setup.unlabeled, setup.train_domains)

    @cached_property
    def hash(self) -> str:
        """The hash of the configuration, which is the name of the folder."""
        return run_hash(self.config)

    @property
    def label(self) -> str:
        """A readable name of the run."""
        without = f", without {' and '.join(self.held_out)}" if self.held_out else ""
        member = f", member {self.member}" if self.member else ""
        return f"{self.recipe.name}{without}, seed {self.seed}{member}"


def prepare(run: Run, features: NDArray[np.floating] | None, fabric: Fabric) -> tuple[Fold, Splits, Classifier]:
    """Create the split, the subsets of images or stored features, and the initial classifier of a run.

    The features are those of `afield.runs.features.stored_features`.
    """
    setup, data = run.setup, run.setup.data
    fold = run.fold()
    inputs = seen = _near(data.images if features is None else features, setup, fabric)
    if features is not None and setup.freeze and standardizes(run.recipe):
        seen = _near(standardized(features, fold, data.domains), setup, fabric)
    unknown = np.full_like(data.labels, IGNORE_INDEX)
    parts = Splits(
        train=Subset(seen, data.labels, fold.train, data.domains, setup.memory, data.weights),
        val=Subset(seen, data.labels, fold.val, data.domains, setup.memory),
        tests={name: Subset(inputs, data.labels, indices, memory=setup.memory) for name, indices in fold.tests.items()},
        adapt={name: Subset(inputs, unknown, indices, memory=setup.memory) for name, indices in fold.adapt.items()},
    )
    counts = torch.from_numpy(np.bincount(data.labels[fold.train], minlength=len(data.class_names)))
    if features is not None and setup.freeze:
        classifier = build_head_classifier(setup, run.recipe, run.init_seed, features.shape[1])
        set_classes(classifier.objective, run.training, counts, data.class_names)
        return fold, parts, classifier
    classifier = build_classifier(setup, run.recipe, run.init_seed)
    set_classes(classifier.objective, run.training, counts, data.class_names)
    if features is None and setup.backbone.weights == "none" and isinstance(classifier.backbone, SeesImages):
        rows = np.random.default_rng(seed_for("images seen", run.init_seed)).permutation(len(parts.train))[:SEEN]
        images, _ = parts.train.take(np.sort(rows))
        classifier.backbone.see(classifier.normalize(images.cpu()))
    return fold, parts, classifier


def _near(inputs: NDArray, setup: ExperimentConfig, fabric: Fabric) -> NDArray | Tensor:
    """A copy of the inputs on the GPU if it has enough free memory; otherwise the inputs themselves."""
    device = fabric.device
    if device.type != "cuda" or setup.memory is not None or 2 * inputs.nbytes > torch.cuda.mem_get_info(device)[0]:
        return inputs
    return resident(inputs, device)
