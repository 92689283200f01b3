"""Model soups: the average of the weights of members that share their start."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afield.combinations.combination import COMBINATIONS, Combination
from afield.distributions import Choice
from afield.records import seed_for
from afield.settings import TrainConfig

RATES, DROPOUTS, DECAYS = Choice((0.2, 0.6, 1.0)), Choice((0.0, 0.1, 0.5)), Choice((1e-6, 1e-4))
"""Factors of the learning rate, dropout probabilities and weight decays that members draw."""

DIGITS = 4
"""Significant digits of a drawn learning rate."""


@COMBINATIONS.register("soup", reference="Rame et al., Diverse Weight Averaging, NeurIPS 2022.")
class Soup(Combination):
    """Averages the weights of all members, which share their start.

    The result is one network. Running statistics of batch normalization are averaged like weights; they are not
    computed again.

    Args:
        members: number of members; 20 in the paper of DiWA.
        draw: whether the members after the first one draw a factor of the learning rate of 0.2, 0.6 or 1, a dropout
            probability of 0, 0.1 or 0.5, and a weight decay of 1e-6 or 1e-4. Otherwise members differ in their random
            choices only.

    References:
        Rame et al., "Diverse Weight Averaging for Out-of-Distribution Generalization", NeurIPS 2022: DiWA with uniform
        weights, and the ranges of its table of hyper-parameters. Its learning rates are 1e-5, 3e-5 and 5e-5; here they
        are the same fractions of the recipe's. There, batch normalization is fixed, which is ``--batch-norm fixed``
        here.
    """

    def __init__(self, *, members: int = 6, draw: bool = True) -> None:
        super().__init__(members=members)
        self.draw = draw

    def settings(self, training: TrainConfig, seed: int, number: int) -> Mapping[str, Any]:
        """See `Combination.settings`."""
        if not self.draw or number == 0:
            return {}

        def drawn(name: str, choices: Choice) -> Any:
            return choices.draw(np.random.default_rng(seed_for("member", seed, number, name)), None)

        rate = training.learning_rate * drawn("learning_rate", RATES)
        return {
            "learning_rate": float(f"{rate:.{DIGITS}g}"),
            "dropout": drawn("dropout", DROPOUTS),
            "weight_decay": drawn("weight_decay", DECAYS),
        }

    def choose(self, values: Sequence[float], value_of: Callable[[Sequence[int]], float]) -> list[int]:
        """The numbers of the members in the average.

        Args:
            values: validation metric of each member; higher is better.
            value_of: the validation metric of the average of members with these numbers.
        """
        return [*range(len(values))]


@COMBINATIONS.register("greedy_soup", reference="Wortsman et al., Model Soups, ICML 2022.")
class GreedySoup(Soup):
    """Averages the weights of the members that do not lower the validation metric of the average.

    The members are tried in the order of their own validation metric, the best first. A member stays in the average if
    the validation metric of the average does not fall. Members with the same metric are tried in their order.

    Args:
        members: number of members.
        draw: see `Soup`.

    References:
        Wortsman et al., "Model Soups: Averaging Weights of Multiple Fine-tuned Models Improves Accuracy without
        Increasing Inference Time", ICML 2022, recipe 1. It is the restricted selection of DiWA.
    """

    def choose(self, values: Sequence[float], value_of: Callable[[Sequence[int]], float]) -> list[int]:
        """See `Soup.choose`."""
        first, *others = sorted(range(len(values)), key=lambda number: -values[number])
        chosen, best = [first], values[first]
        for number in others:
            if (value := value_of([*chosen, number])) >= best:
                chosen, best = [*chosen, number], value
        return chosen


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts with the same names and shapes, computed in float64. Integers are those of the first.

    Raises:
        ValueError: if names or shapes differ.
    """
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("only networks with the same weights by name and shape can be averaged")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }
