"""Combinations of several runs into one model: ensembles, and averages of weights."""

from afield.combinations.combination import COMBINATIONS as COMBINATIONS, Combination as Combination
from afield.combinations.ensemble import Ensemble as Ensemble, mean_logits as mean_logits
from afield.combinations.soup import GreedySoup as GreedySoup, Soup as Soup, average as average
