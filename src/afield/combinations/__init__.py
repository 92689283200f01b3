"""Combinations of several runs into one model: ensembles, and averages of weights."""

from afield.combinations.combination import COMBINATIONS, Combination
from afield.combinations.ensemble import Ensemble, mean_logits
from afield.combinations.soup import GreedySoup, Soup, average

__all__ = ["COMBINATIONS", "Combination", "Ensemble", "GreedySoup", "Soup", "average", "mean_logits"]
