"""The registries of the training algorithms and of the weight averagings."""

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averagings.averaging import Averaging
from afield.registry import Registry

ALGORITHMS: Registry[type[Algorithm]] = Registry("algorithm", group="afield.algorithms")

AVERAGINGS: Registry[type[Averaging]] = Registry("weight averaging", group="afield.averagings")
"""Wrappers of an algorithm: they do not change its training and predict with averaged weights."""
