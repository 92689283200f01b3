"""The hint where validation is good and an unseen domain is not."""

import dataclasses

from afield.comparison.gaps import gap_hint
from afield.records import Epoch, Record, Selection
from tests.made_records import made_record


def record(recipe: str, domain: str, validation: float, unseen: float) -> Record:
    wrong = Epoch(train_loss=1.0, validation={"accuracy": 0.1, "loss": 1.0}, test={domain: {"accuracy": 0.1}})
    right = dataclasses.replace(
        wrong, validation={"accuracy": validation, "loss": 1.0}, test={domain: {"accuracy": unseen}}
    )
    made = made_record(recipe=recipe, seed=0, held_out=(domain,))
    return dataclasses.replace(made, epochs=(wrong, right), selection=Selection("train_validation", 2))


def test_domains_below_half_of_the_validation_accuracy_are_named_for_the_best_recipe():
    records = [
        record("erm", "wall", 0.98, 0.35),
        record("erm", "paper", 0.94, 0.90),
        record("focal", "wall", 0.98, 0.10),
        record("focal", "paper", 0.98, 0.10),
    ]
    hint = gap_hint(records)
    assert hint is not None
    assert hint.startswith("erm has 98 % on validation images and wall 35 % unseen: ")
    assert "--backbone resnet8_instance" in hint
    assert gap_hint(records[1:2]) is None


def test_of_many_failed_domains_the_lowest_are_named_and_the_others_counted():
    hint = gap_hint([record("erm", f"d{i}", 0.9, 0.2 + 0.01 * i) for i in range(9)])
    assert hint is not None
    assert "d0 20 %, d1 21 %, d2 22 %, d3 23 %, d4 24 %, d5 25 %, and below half of that" in hint
    assert "in 3 other domains, unseen: " in hint
    assert "d6" not in hint
