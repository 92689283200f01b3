"""Metrics, selection rules and statistics, without torch."""

from afield.evaluation.collapse import diagnose as diagnose, diagnose_dagan as diagnose_dagan
from afield.evaluation.metrics import (
    accuracy as accuracy,
    confusion as confusion,
    expected_calibration_error as expected_calibration_error,
    mean_average_precision as mean_average_precision,
    non_target_probabilities as non_target_probabilities,
)
from afield.evaluation.new_place import (
    difference_at_new_place as difference_at_new_place,
    probability_better as probability_better,
)
from afield.evaluation.selection import SELECTIONS as SELECTIONS
from afield.evaluation.statistics import (
    estimate as estimate,
    labels_to_halve as labels_to_halve,
    paired_difference as paired_difference,
    wilson as wilson,
)
from afield.records import Estimate as Estimate
