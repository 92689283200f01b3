"""The registries that every algorithm, and every way to average weights, joins beside its definition."""

from __future__ import annotations

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.averaging import Averaging
from afield.registry import Registry

ALGORITHMS: Registry[type[Algorithm]] = Registry("algorithm")

AVERAGINGS: Registry[type[Averaging]] = Registry("weight averaging")
"""Algorithms around another one, which train as it does and predict with averaged weights."""
