"""What training derives from the number of training images of each class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from afield.errors import unknown_name
from afield.losses import balanced_weights, effective_weights
from afield.objective import Objective
from afield.settings import TrainConfig
from afield.settings.train_config import read_class_weights


def set_classes(objective: Objective, training: TrainConfig, counts: Tensor, names: Sequence[str]) -> None:
    """Set the class counts, class weights and logit adjustment of an objective; see `Objective.set_classes`.

    Args:
        objective: objective to change.
        training: training settings.
        counts: number of training images of each class, ``[K]``.
        names: K class names.

    Raises:
        InputError: if the class weights name an unknown class.
    """
    objective.set_classes(
        counts,
        weight=class_weights(training, counts, names),
        weighted_from=training.class_weights_from,
        adjustment=training.class_adjustment,
    )


def class_weights(training: TrainConfig, counts: Tensor, names: Sequence[str]) -> Tensor | None:
    """The class weights ``[K]`` of the settings; None for equal weights. Arguments and errors as in `set_classes`."""
    match training.class_weights:
        case "none":
            return None
        case "balanced":
            return balanced_weights(counts)
        case "effective":
            return effective_weights(counts, beta=training.class_weights_beta)
        case text:
            given = read_class_weights(text)
            for name in given:
                if name not in names:
                    unknown_name("class in --class-weights:", name, names)
            return torch.tensor([given.get(name, 1.0) for name in names])
