"""An exponential moving average of the weights."""

import copy
from collections.abc import Callable
from typing import Annotated

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averagings.averaging import Averaging, blend
from afield.algorithms.registry import AVERAGINGS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within


@AVERAGINGS.register("ema", reference="Tarvainen and Valpola, Mean Teachers are Better Role Models, NeurIPS 2017.")
class EMA(Averaging):
    """Predicts with an exponential moving average of the weights.

    Training itself does not change. The decay at step ``t``, counted from 1, is ``min(decay, (1 + t) / (10 + t))``, so
    that in a short training the last steps dominate the average. Running statistics of batch normalization are
    averaged in the same way as the weights.

    Args:
        algorithm: algorithm that trains the classifier.
        decay: largest decay of the average per step.

    Raises:
        ValueError: if the decay is outside [0, 1).

    References:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; Tarvainen and Valpola,
        "Mean Teachers are Better Role Models", NeurIPS 2017.
    """

    def __init__(self, algorithm: Algorithm, *, decay: Annotated[float, Choice((0.99, 0.999, 0.9999))] = 0.999) -> None:
        super().__init__(algorithm)
        check_within("[0, 1)", decay=decay)
        self.decay = decay
        self.average = copy.deepcopy(self.classifier).requires_grad_(False)

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Update the average with the current weights."""
        super().end_step(done, steps, validate)
        blend(self.average, self.classifier, 1 - min(self.decay, (1 + done) / (10 + done)))

    def predictor(self) -> Classifier:
        """The averaged classifier."""
        return self.average
