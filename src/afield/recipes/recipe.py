"""The recipe: changes of objective, augmentation, algorithm, adaptation and training, but not of the architecture."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, get_origin, get_type_hints

from afield.augment import chain_key
from afield.distributions import read_distribution
from afield.errors import InputError, unknown_name
from afield.names import checked_name
from afield.records import is_json
from afield.settings import TrainConfig
from afield.validation import check_number, settings_of

OWN_SETTINGS = settings_of(TrainConfig).keys() - {"augment", "precision"}
"""Settings allowed in `Recipe.training`: all except `augment`, a field, and `precision`, shared by all runs."""

LATER = ("adaptation", "start", "combination")
"""First letters of fields that earlier versions did not have."""


@dataclass(frozen=True)
class Recipe:
    """A training method: head, weighted losses, augmentation, algorithm, and its own training settings.

    Attributes:
        name: name of the recipe in tables.
        head: name in ``afield.heads.HEADS``.
        head_options: keyword arguments of the head, for example ``{"margin_rad": 0.2}``.
        losses: weights of losses by name in ``afield.losses.LOSSES``.
        loss_options: keyword arguments by loss name, for example ``{"label_smoothing": {"smoothing": 0.2}}``.
        linear_losses: weights of losses on the class vectors of the head as a linear layer; see `Objective`.
        neck: whether a linear layer with batch normalization precedes the head.
        augment: name in ``afield.augment.AUGMENTATIONS``; a file; a name in ``afield.augment.learned.AUGMENTORS``,
            which each run learns on its own training images; or several of these joined by ``+``. None means the
            augmentation of the preset.
        augment_options: settings of the learned augmentation, for example ``{"recognized": 0.8}``.
        algorithm: name in ``afield.algorithms.ALGORITHMS``.
        algorithm_options: keyword arguments of the algorithm, for example ``{"penalty": 10.0}``.
        averaging: name in ``afield.algorithms.AVERAGINGS``; predictions use weights averaged over training.
        averaging_options: keyword arguments of the averaging, for example ``{"tolerance": 1.2}``.
        start: ``probe`` trains the head alone on the features of the pretrained backbone first, in a training of its
            own that all runs of a seed share; None starts from a random head.
        combination: name in ``afield.combinations.COMBINATIONS``; the recipe trains several runs and joins them.
        combination_options: keyword arguments of the combination, for example ``{"members": 3}``.
        adaptation: names in ``afield.adaptation.ADAPTATIONS``, applied in this order after training to unlabeled images
            of the new place.
        adaptation_options: keyword arguments by adaptation name, for example ``{"t3a": {"filter_size": 20}}``.
        training: settings of `TrainConfig` that replace the shared settings, for example ``{"learning_rate": 0.001}``.
        search: distributions that `afield sweep` draws settings of this recipe from, in addition to those that the
            settings declare, for example ``{"losses.complement_flattening": "log_uniform(0.1, 2)"}``. Runs do not
            depend on them.

    Raises:
        InputError: if the name contains characters that cannot be shown, if a value has the wrong type or is out of
            range, or if a setting is not allowed in a recipe.
    """

    name: str
    head: str = "linear"
    head_options: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    loss_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    linear_losses: Mapping[str, float] = field(default_factory=dict)
    neck: bool = False
    augment: str | None = None
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = "erm"
    algorithm_options: Mapping[str, Any] = field(default_factory=dict)
    averaging: str | None = None
    averaging_options: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    combination: str | None = None
    combination_options: Mapping[str, Any] = field(default_factory=dict)
    adaptation: tuple[str, ...] = ()
    adaptation_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        where = f"recipe {self.name!r}"
        if isinstance(self.adaptation, list):  # as JSON and TOML have it
            object.__setattr__(self, "adaptation", tuple(self.adaptation))
        for name, hint in get_type_hints(Recipe).items():
            value, kind = getattr(self, name), hint if isinstance(hint, UnionType) else get_origin(hint) or hint
            if not isinstance(value, kind):
                raise InputError(f"{where}: {name} cannot be {value!r}")
        object.__setattr__(self, "name", checked_name(self.name, "recipe"))
        if not self.losses:
            raise InputError(f"{where} has no losses")
        for loss, weight in (*self.losses.items(), *self.linear_losses.items()):
            check_number(f"{where}: the weight of {loss}", weight, 0, 1000)
        for part, options in (*self.loss_options.items(), *self.adaptation_options.items()):
            if not isinstance(options, Mapping):
                raise InputError(f"{where}: the options of {part} cannot be {options!r}")
        for name in self.adaptation:
            if self.adaptation.count(name) > 1:
                raise InputError(f"{where} adapts by {name!r} twice")
        for name, value in self.training.items():
            if name == "precision":
                raise InputError(f"{where}: all runs share the precision; set it with --precision, not in a recipe")
            if name not in OWN_SETTINGS:
                unknown_name(f"training setting in {where}:", name, OWN_SETTINGS)
            settings_of(TrainConfig)[name].check(f"{where}: {name}", value)
        for name, text in self.search.items():
            try:
                read_distribution(str(text))
            except ValueError as error:
                raise InputError(f"{where}: search.{name}: {error}") from None
        for name in get_type_hints(Recipe):
            if not is_json(value := getattr(self, name)):
                raise InputError(f"{where}: {name} cannot be {value!r}")

    def train_config(self, shared: TrainConfig) -> TrainConfig:
        """The shared settings, with those of this recipe replaced.

        Raises:
            InputError: if settings contradict each other, for example more micro-batches than images in a batch.
        """
        return dataclasses.replace(shared, **self.training)

    def config(self) -> dict[str, Any]:
        """The fields for records and hashes of runs, JSON-serializable. Files are identified by their content.

        Empty fields in `LATER` are omitted, so that recipes without them keep the hashes of earlier versions.
        `search` is omitted, because a run does not depend on it.
        """
        fields = {**dataclasses.asdict(self), "augment": self.augment and chain_key(self.augment)}
        del fields["search"]
        return {name: value for name, value in fields.items() if value or not name.startswith(LATER)}
