"""Selection rules on records made by hand: which epoch, and what a rule may not look at."""

import copy

import pytest
from hypothesis import given, settings, strategies as st

from afield.errors import InputError
from afield.evaluation import SELECTIONS, selected_value
from afield.evaluation.selection import figure, first_best
from afield.records import Epoch
from tests.made_records import made_record


def record(held_out, validation, **tests):
    """A run of as many epochs as there are validation accuracies; `tests` has accuracies by domain."""
    return made_record(
        held_out=tuple(held_out),
        epochs=tuple(
            Epoch(1.0, {"accuracy": value}, {name: {"accuracy": t[i]} for name, t in tests.items()})
            for i, value in enumerate(validation)
        ),
    )


@pytest.fixture
def run():
    return record(["photo"], [0.5, 0.9, 0.7, 0.6], photo=[0.1, 0.2, 0.8, 0.3])


@pytest.fixture
def siblings():
    return [
        record(["art", "photo"], [0.9, 0.1, 0.1, 0.1], art=[0.2, 0.4, 0.1, 0.6], photo=[1.0, 0.0, 0.0, 0.0]),
        record(["photo", "sketch"], [0.9, 0.1, 0.1, 0.1], photo=[1.0, 0.0, 0.0, 0.0], sketch=[0.5, 0.7, 0.1, 0.4]),
        record(["art", "sketch"], [0.9, 0.1, 0.1, 0.1], art=[0.0, 0.0, 1.0, 0.0], sketch=[0.0, 0.0, 1.0, 0.0]),
    ]


def test_train_validation_takes_the_epoch_of_best_validation(run):
    assert SELECTIONS["train_validation"](run, []) == 1


def test_last_takes_the_last_epoch(run):
    assert SELECTIONS["last"](run, []) == 3


def test_the_oracle_takes_the_epoch_of_best_accuracy_on_the_unseen_domain(run):
    assert SELECTIONS["oracle"](run, []) == 2


def test_leave_one_out_takes_the_best_mean_of_the_siblings_that_leave_out_the_unseen_domain_too(run, siblings):
    # art and sketch average 0.35, 0.55, 0.1, 0.5; with the third sibling, epoch 3 would have won.
    assert SELECTIONS["leave_one_out_validation"](run, siblings) == 1


def test_leave_one_out_without_fitting_siblings_is_an_error(run, siblings):
    with pytest.raises(ValueError, match="two domains held out"):
        SELECTIONS["leave_one_out_validation"](run, siblings[2:])


def test_ties_go_to_the_first_epoch():
    tied = record(["photo"], [0.2, 0.7, 0.7], photo=[0.9, 0.4, 0.9])
    sibling = record(["photo", "art"], [0.0] * 3, photo=[0.0] * 3, art=[0.3, 0.6, 0.6])
    assert SELECTIONS["train_validation"](tied, []) == 1
    assert SELECTIONS["oracle"](tied, []) == 0
    assert SELECTIONS["leave_one_out_validation"](tied, [sibling]) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_the_oracle_alone_looks_at_the_unseen_domain(unseen, unseen_of_siblings):
    before = record(["photo"], [0.5, 0.9, 0.7, 0.6], photo=[0.1, 0.2, 0.8, 0.3])
    around = [
        record(["art", "photo"], [0.0] * 4, art=[0.2, 0.4, 0.1, 0.6], photo=[0.0] * 4),
        record(["photo", "sketch"], [0.0] * 4, photo=[0.0] * 4, sketch=[0.5, 0.3, 0.1, 0.4]),
    ]
    after, around_after = copy.deepcopy(before), copy.deepcopy(around)
    for i, value in enumerate(unseen):
        after.epochs[i].test["photo"]["accuracy"] = value
        for sibling, others in zip(around_after, (unseen_of_siblings[:4], unseen_of_siblings[4:]), strict=True):
            sibling.epochs[i].test["photo"]["accuracy"] = others[i]
    changed = {entry.name for entry in SELECTIONS if entry.value(before, around) != entry.value(after, around_after)}
    assert changed == ({"oracle"} if unseen.index(max(unseen)) != 2 else set())


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'train_validation'"):
        SELECTIONS["train_validaton"]


def test_a_metric_that_a_record_lacks_is_named_with_those_it_has(run):
    assert figure({"accuracy": 0.5, "nll": 2.0}, "nll") == 2
    with pytest.raises(InputError, match=r"does not contain the metric map, .*; it contains accuracy, nll$"):
        figure({"nll": 2.0, "accuracy": 0.5}, "map")


def test_the_lowest_value_is_the_first_best_of_a_metric_that_counts_downwards():
    epochs = [{"nll": value} for value in (0.5, 0.3, 0.3, 0.9)]
    assert first_best("nll", epochs) == 1
    assert first_best("accuracy", [{"accuracy": value["nll"]} for value in epochs]) == 3


def test_the_selected_value_is_that_of_the_images_that_the_rule_looks_at(run, siblings):
    assert selected_value("train_validation", run) == 0.9
    assert selected_value("last", run) == 0.6
    assert selected_value("oracle", run) == 0.8
    assert selected_value("leave_one_out_validation", run, siblings) == pytest.approx(0.55)
