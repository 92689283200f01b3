"""Metrics on examples small enough to count by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from afield.evaluation import accuracy, confusion, mean_average_precision, non_target_probabilities
from afield.evaluation.metrics import expected_calibration_error, loss


def probabilities(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def average_precision_longhand(scores, positive):
    """The mean, over the positives, of the precision among all that score at least as high."""
    precisions = []
    for score, is_positive in zip(scores, positive, strict=True):
        if is_positive:
            above = [p for s, p in zip(scores, positive, strict=True) if s >= score]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


def from_probabilities(rows):
    return np.log(np.array(rows, dtype=np.float32))


def test_accuracy_is_the_share_of_largest_logits_at_the_label():
    logits = np.array([[2, 1, 0], [0, 1, 2], [0, 3, 1], [5, 1, 1]], dtype=np.float32)
    assert accuracy(logits, np.array([0, 2, 2, 1])) == 0.5


def test_mean_average_precision_of_an_example_counted_by_hand():
    logits = from_probabilities([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    # Class 0, by falling score: 0.9 yes, 0.7 no, 0.4 yes, 0.2 no -> (1/1 + 2/3) / 2 = 5/6.
    # Class 1, by falling score: 0.8 yes, 0.6 no, 0.3 yes, 0.1 no -> 5/6.
    assert mean_average_precision(logits, np.array([0, 0, 1, 1])) == pytest.approx(5 / 6)
    # Labels 0 1 0 1: class 0 at ranks 1 and 2 -> 1; class 1 at ranks 1 and 2 -> 1.
    assert mean_average_precision(logits, np.array([0, 1, 0, 1])) == pytest.approx(1.0)
    # Labels 1 0 1 0: class 0 at ranks 3 and 4 -> (1/3 + 2/4) / 2 = 5/12; class 1 likewise.
    assert mean_average_precision(logits, np.array([1, 0, 1, 0])) == pytest.approx(5 / 12)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 3), *[st.floats(-4, 4, width=16)] * 4), min_size=3, max_size=12).filter(
        lambda rows: len({label for label, *_ in rows}) > 1
    )
)
def test_mean_average_precision_equals_the_longhand_ranking(rows):
    logits, labels = np.array([z for _, *z in rows]), np.array([label for label, *_ in rows])
    scores = [probabilities(z) for z in logits.tolist()]
    assume(all(abs(a - b) > 1e-9 for k in range(4) for a, b in combinations([row[k] for row in scores], 2)))
    expected = [
        average_precision_longhand([row[k] for row in scores], [label == k for label in labels.tolist()])
        for k in sorted(set(labels.tolist()))
    ]
    assert mean_average_precision(logits, labels) == pytest.approx(sum(expected) / len(expected))


def test_mean_average_precision_ranks_probabilities_not_logits():
    # By logit of class 0 the wrong image (5) is first; by probability (0.5 against 0.99) it is last.
    logits = np.array([[0.0, -5.0], [5.0, 5.0]])
    assert mean_average_precision(logits, np.array([0, 1])) == pytest.approx(1.0)


def test_a_class_without_examples_is_left_out_of_the_mean():
    logits = from_probabilities([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
    # Class 0: 0.8 yes, 0.6 no -> 1. Class 2: 0.7 yes, 0.3 yes -> 1. Class 1 has none and does not count as 0.
    assert mean_average_precision(logits, np.array([0, 2, 2])) == pytest.approx(1.0)


def test_confusion_counts_true_classes_by_row_and_predictions_by_column():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 0]]
    found = confusion(logits, np.array([0, 0, 1, 1, 0]))
    assert found.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert found.trace() / found.sum() == pytest.approx(accuracy(logits, np.array([0, 0, 1, 1, 0])))


def test_non_target_probabilities_are_the_mean_softmax_over_the_images_of_one_class():
    logits = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [9.0, 0.0, 0.0]], dtype=np.float32)
    first, second = probabilities([1.0, 0.0, 2.0]), probabilities([0.0, 3.0, 1.0])
    found = non_target_probabilities(logits, np.array([1, 1, 0]), 1)
    assert math.isnan(found[1])
    assert [found[0], found[2]] == pytest.approx([(first[0] + second[0]) / 2, (first[2] + second[2]) / 2])


def test_non_target_probabilities_stay_finite_at_huge_logits():
    found = non_target_probabilities(np.array([[1e4, 0.0, 1e4]], dtype=np.float32), np.array([0]), 0)
    assert found[1:].tolist() == pytest.approx([0.0, 0.5])


def test_loss_is_the_mean_cross_entropy_also_at_huge_logits():
    logits = np.array([[1.0, 2.0], [0.0, -1.0]], dtype=np.float32)
    expected = -(math.log(probabilities([1, 2])[0]) + math.log(probabilities([0, -1])[0])) / 2
    assert loss(logits, np.array([0, 0])) == pytest.approx(expected)
    assert loss(np.array([[1000.0, 0.0]], dtype=np.float32), np.array([1])) == pytest.approx(1000.0)


def test_calibration_error_adds_gaps_of_both_signs_by_the_size_of_their_bins():
    """Two right at 0.6 lack 0.8 confidence, two wrong at 0.9 have 1.8 too much: (0.8 + 1.8) / 4 in any bins."""
    logits = np.log([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    labels = np.array([0, 1, 1, 0])
    assert expected_calibration_error(logits, labels) == pytest.approx(0.65)
    assert expected_calibration_error(logits, labels, bins=4) == pytest.approx(0.65)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(1.0 / 4)
