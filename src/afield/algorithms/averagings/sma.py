"""SMA: the plain average of the weights of all steps after the first ones."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averagings.averaging import Averaging, blend
from afield.algorithms.registry import AVERAGINGS
from afield.classifier import Classifier
from afield.validation import check_within


@AVERAGINGS.register("sma", reference="Arpit et al., Ensemble of Averages, NeurIPS 2022.")
class SMA(Averaging):
    """Predicts with the plain average of the weights of all steps after the first ones.

    Until the average starts, the current weights are used. Running statistics of batch normalization are averaged in
    the same way.

    Args:
        algorithm: algorithm that trains the classifier.
        start: fraction of the steps before the average starts; 0.02 in the paper (100 of 5,000).

    Raises:
        ValueError: if the fraction is outside [0, 1).

    References:
        Arpit et al., "Ensemble of Averages: Improving Model Selection and Boosting Performance in Domain
        Generalization", NeurIPS 2022, section 2.1.
    """

    averaged: Tensor
    """Number of steps in the average."""

    def __init__(self, algorithm: Algorithm, *, start: float = 0.02) -> None:
        super().__init__(algorithm)
        check_within("[0, 1)", start=start)
        self.start = start
        self.average = copy.deepcopy(self.classifier).requires_grad_(False)
        self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Add the current weights to the average."""
        super().end_step(done, steps, validate)
        self.averaged += done > self.start * steps
        blend(self.average, self.classifier, 1 / max(int(self.averaged), 1))

    def predictor(self) -> Classifier:
        """The averaged classifier."""
        return self.average
