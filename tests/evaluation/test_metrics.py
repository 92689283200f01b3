"""Metrics on examples small enough to count by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax

from afield.errors import InputError
from afield.evaluation import (
    METRICS,
    accuracy,
    balanced_accuracy,
    bootstrap,
    brier,
    class_by_domain,
    confusion,
    expected_calibration_error,
    macro_f1,
    mean_average_precision,
    measure,
    negative_log_likelihood,
    non_target_probabilities,
    precision,
    recall,
    worst_class,
    worst_domain,
)


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


def test_nll_is_the_mean_cross_entropy_also_at_huge_logits():
    logits = np.array([[1.0, 2.0], [0.0, -1.0]], dtype=np.float32)
    expected = -(math.log(probabilities([1, 2])[0]) + math.log(probabilities([0, -1])[0])) / 2
    assert negative_log_likelihood(logits, np.array([0, 0])) == pytest.approx(expected)
    assert negative_log_likelihood(np.array([[1000.0, 0.0]], dtype=np.float32), np.array([1])) == pytest.approx(1000.0)


@given(arrays(np.float32, (5, 4), elements=st.floats(-80, 80, width=32)))
def test_nll_is_that_of_the_log_softmax_of_scipy_to_the_last_bit(logits):
    labels = np.array([0, 3, 1, 2, 2])
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(5), labels]
    assert negative_log_likelihood(logits, labels) == expected.mean()


def test_calibration_error_adds_gaps_of_both_signs_by_the_size_of_their_bins():
    """Two right at 0.6 lack 0.8 confidence, two wrong at 0.9 have 1.8 too much: (0.8 + 1.8) / 4 in any bins."""
    logits = np.log([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    labels = np.array([0, 1, 1, 0])
    assert expected_calibration_error(logits, labels) == pytest.approx(0.65)
    assert expected_calibration_error(logits, labels, bins=4) == pytest.approx(0.65)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(1.0 / 4)


# Class 0: 3 images, 2 right; class 1: 2 images, 1 right; class 2: 1 image, 0 right. Predicted: 0 0 1, 1 0, 1.
LOGITS = np.log([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 0, 0, 1, 1, 2])
DOMAINS = np.array([0, 0, 1, 1, 1, 1])


def test_metrics_of_classes_counted_by_hand():
    assert recall(LOGITS, LABELS).tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert precision(LOGITS, LABELS).tolist() == pytest.approx([2 / 3, 1 / 3, math.nan], nan_ok=True)
    assert balanced_accuracy(LOGITS, LABELS) == pytest.approx((2 / 3 + 1 / 2) / 3)
    # F1 = 2 right / (images + predictions): 4 / 6, 2 / 5, 0 / 1.
    assert macro_f1(LOGITS, LABELS) == pytest.approx((2 / 3 + 2 / 5) / 3)
    assert worst_class(LOGITS, LABELS) == 0
    assert worst_class(LOGITS[:5], LABELS[:5]) == 0.5  # class 2 has no images


def test_metrics_of_domains_counted_by_hand():
    assert worst_domain(LOGITS, LABELS, DOMAINS) == 1 / 4
    assert worst_domain(LOGITS, LABELS) == accuracy(LOGITS, LABELS) == 1 / 2
    table = class_by_domain(LOGITS, LABELS, DOMAINS, 2)
    np.testing.assert_array_equal(table, [[1, 0], [math.nan, 1 / 2], [math.nan, 0]])


def test_brier_score_of_two_images_worked_out_by_hand():
    # (0.3^2 + 0.2^2 + 0.1^2) and (0.2^2 + 0.5^2 + 0.7^2)
    assert brier(LOGITS[[0, 5]], LABELS[[0, 5]]) == pytest.approx((0.14 + 0.78) / 2)
    assert brier(np.array([[0.0, 1e4]]), np.array([0])) == pytest.approx(2.0)


def sample(classes, count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count) if seed % 2 else rng.integers(max(2, classes - 1), size=count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return (np.round(logits, 1) if seed % 3 == 0 else logits), labels, rng.integers(3, size=count)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("classes", "count"), [(2, 40), (5, 300)])
def test_metrics_agree_with_scikit_learn(classes, count, seed):
    from sklearn import metrics as theirs

    logits, labels, domains = sample(classes, count, seed)
    probabilities, predicted = softmax(logits, axis=1), logits.argmax(axis=1)
    one_hot, present = np.eye(classes)[labels], np.unique(labels)
    expected = {
        "accuracy": theirs.accuracy_score(labels, predicted),
        "balanced_accuracy": theirs.recall_score(labels, predicted, labels=present, average="macro", zero_division=0),
        "macro_f1": theirs.f1_score(labels, predicted, average="macro"),
        "map": theirs.average_precision_score(one_hot[:, present], probabilities[:, present], average="macro"),
        "nll": theirs.log_loss(labels, probabilities, labels=np.arange(classes)),
        "brier": np.square(probabilities - one_hot).sum(axis=1).mean(),
        "worst_domain": min(theirs.accuracy_score(labels[domains == d], predicted[domains == d]) for d in range(3)),
        "worst_class": theirs.recall_score(labels, predicted, labels=present, average=None, zero_division=0).min(),
    }
    found = measure(logits, labels, domains)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    for ours, name in ((precision, "precision_score"), (recall, "recall_score")):
        each = getattr(theirs, name)(labels, predicted, labels=np.arange(classes), average=None, zero_division=np.nan)
        np.testing.assert_allclose(ours(logits, labels), each, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_metrics_agree_with_torchmetrics(seed):
    from torchmetrics.functional import classification as theirs

    logits, labels, _ = sample(5, 300, seed)
    scores, target = torch.from_numpy(softmax(logits, axis=1)), torch.from_numpy(labels)
    present = np.unique(labels)
    each = theirs.multiclass_average_precision(scores, target, 5, average=None).numpy()
    expected = {
        "accuracy": theirs.multiclass_accuracy(scores, target, 5, average="micro").item(),
        "balanced_accuracy": theirs.multiclass_recall(scores, target, 5, average=None)[present].mean().item(),
        "macro_f1": theirs.multiclass_f1_score(scores, target, 5, average="macro").item(),
        "map": each[present].mean(),
        "ece": theirs.multiclass_calibration_error(scores, target, 5, n_bins=15, norm="l1").item(),
    }
    found = measure(logits, labels)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12))
def test_a_weight_counts_an_image_so_often(seed, classes, count):
    rng = np.random.default_rng(seed)
    logits, labels = np.round(rng.normal(size=(count, classes)), 1), rng.integers(classes, size=count)
    domains, weight = rng.integers(2, size=count), rng.integers(0, 3, size=(4, count))
    weight[:, 0] += 1
    found = measure(logits, labels, domains, weight)
    for row, times in enumerate(weight):
        rows = np.repeat(np.arange(count), times)
        expected = measure(logits[rows], labels[rows], domains[rows])
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12))
def test_every_metric_is_within_its_range(seed, classes, count):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(scale=5, size=(count, classes)), rng.integers(classes, size=count)
    for name, value in measure(logits, labels, rng.integers(2, size=count)).items():
        assert 0 <= value <= METRICS[name].highest, name


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'balanced_accuracy'"):
        METRICS["balanced_acuracy"]


def accuracies_of(right):
    logits = np.eye(2)[np.asarray(right, dtype=int)]
    return lambda weight: {"accuracy": accuracy(logits, np.ones(len(right), dtype=int), weight=weight)}


def test_the_bootstrap_interval_is_that_of_a_binomial_fraction():
    right = np.arange(400) < 300
    low, high = bootstrap(accuracies_of(right), np.arange(400))["accuracy"]
    half = 1.959964 * math.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (pytest.approx(0.75 - half, abs=0.006), pytest.approx(0.75 + half, abs=0.006))
    assert bootstrap(accuracies_of(right), np.arange(400)) == {"accuracy": (low, high)}


def test_groups_of_equal_images_count_as_one_image_each():
    """Sixteen copies of each of 25 images: the interval is four times as wide as that of 400 images."""
    right = np.repeat(np.arange(25) < 15, 16)
    apart, together = (bootstrap(accuracies_of(right), g)["accuracy"] for g in (np.arange(400), np.arange(400) // 16))
    assert (together[1] - together[0]) / (apart[1] - apart[0]) == pytest.approx(4, rel=0.1)


def test_two_groups_have_no_interval_and_every_interval_is_within_the_range():
    assert bootstrap(accuracies_of([True, False] * 9), np.arange(18) % 2) == {}
    logits, labels, domains = sample(5, 30, 1)
    found = bootstrap(lambda weight: measure(logits, labels, domains, weight), np.arange(30))
    assert found.keys() == set(METRICS.names)
    for name, (low, high) in found.items():
        assert 0 <= low <= high <= METRICS[name].highest


IN_WORDS = {
    "accuracy": ("accuracy", 1, 100, 1, ", %", "12.3", "+12.3", 0.25),
    "balanced_accuracy": ("balanced accuracy", 1, 100, 1, ", %", "12.3", "+12.3", 0.25),
    "macro_f1": ("macro-F1", 1, 100, 1, ", %", "12.3", "+12.3", 0.25),
    "map": ("mAP", 1, 100, 1, ", %", "12.3", "+12.3", 0.25),
    "ece": ("ECE", 1, 100, -1, ", %", "12.3", "+12.3", 0.25),
    "nll": ("NLL", math.inf, 1, -1, "", "0.123", "+0.123", 0.25),
    "brier": ("Brier score", 2, 1, -1, "", "0.123", "+0.123", 0.25),
    "worst_domain": ("accuracy of the worst domain", 1, 100, 1, ", %", "12.3", "+12.3", 0.125),
    "worst_class": ("recall of the worst class", 1, 100, 1, ", %", "12.3", "+12.3", 0.25),
}
"""Title, highest value, factor, sign, unit, 0.12345 as text without and with a sign, and the value over 1/8 and 3/8."""


@pytest.mark.parametrize("name", METRICS.names)
def test_how_a_metric_is_written(name):
    metric = METRICS[name]
    texts = metric.text(0.12345), metric.text(0.12345, "+")
    found = (metric.title, metric.highest, metric.factor, metric.sign, metric.unit, *texts)
    assert (*found, metric.over_domains([0.125, 0.375])) == IN_WORDS[name]


@pytest.mark.parametrize("chunk", [2**22, 70])
def test_the_bootstrap_draws_whole_groups_a_thousand_times(chunk, monkeypatch):
    values, groups = np.random.default_rng(1).normal(size=20), np.repeat([7, 3, 9, 1, 4], 4)
    monkeypatch.setitem(bootstrap.__globals__, "CHUNK", chunk)
    found = bootstrap(lambda weight: {"mean": weight @ values / weight.sum(axis=1)}, groups, level=0.9)
    names = np.unique(groups)
    means = np.array([values[groups == name].mean() for name in names])
    draws = np.random.default_rng(0).integers(5, size=(1000, 5))
    expected = np.quantile(means[draws].mean(axis=1), (0.05, 0.95))
    assert found["mean"] == pytest.approx(tuple(expected))
    assert bootstrap(lambda weight: {"mean": weight @ values}, groups // 5) == {}
