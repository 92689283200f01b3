"""Metrics, selection rules and statistics, without torch."""

from afield.evaluation.bootstrap import bootstrap as bootstrap
from afield.evaluation.collapse import (
    diagnose as diagnose,
    diagnose_cyclegan as diagnose_cyclegan,
    diagnose_dagan as diagnose_dagan,
    forgotten as forgotten,
)
from afield.evaluation.metrics import (
    accuracy as accuracy,
    balanced_accuracy as balanced_accuracy,
    brier as brier,
    class_by_domain as class_by_domain,
    confusion as confusion,
    expected_calibration_error as expected_calibration_error,
    macro_f1 as macro_f1,
    mean_average_precision as mean_average_precision,
    measure as measure,
    negative_log_likelihood as negative_log_likelihood,
    non_target_probabilities as non_target_probabilities,
    precision as precision,
    recall as recall,
    worst_class as worst_class,
    worst_domain as worst_domain,
)
from afield.evaluation.new_place import (
    difference_at_new_place as difference_at_new_place,
    probability_better as probability_better,
)
from afield.evaluation.ranks import (
    Ranks as Ranks,
    critical_difference as critical_difference,
    ranks as ranks,
    signed_rank_p as signed_rank_p,
)
from afield.evaluation.registry import METRICS as METRICS, Metric as Metric
from afield.evaluation.selection import (
    SELECTIONS as SELECTIONS,
    figure as figure,
    first_best as first_best,
    selected_value as selected_value,
)
from afield.evaluation.shown_domains import (
    SHOWN_DOMAINS as SHOWN_DOMAINS,
    shown_domains as shown_domains,
    shown_domains_note as shown_domains_note,
)
from afield.evaluation.statistics import (
    estimate as estimate,
    labels_to_halve as labels_to_halve,
    paired_difference as paired_difference,
    wilson as wilson,
)
from afield.records import Estimate as Estimate
