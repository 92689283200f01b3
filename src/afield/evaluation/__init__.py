"""Metrics, selection rules and statistics. Free of torch."""

from afield.evaluation.collapse import diagnose
from afield.evaluation.dagan_collapse import diagnose_dagan
from afield.evaluation.metrics import (
    accuracy,
    confusion,
    expected_calibration_error,
    mean_average_precision,
    non_target_probabilities,
)
from afield.evaluation.selection import SELECTIONS
from afield.evaluation.statistics import estimate, paired_difference
from afield.records import Estimate

__all__ = [
    "SELECTIONS",
    "Estimate",
    "accuracy",
    "confusion",
    "diagnose",
    "diagnose_dagan",
    "estimate",
    "expected_calibration_error",
    "mean_average_precision",
    "non_target_probabilities",
    "paired_difference",
]
