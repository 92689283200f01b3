"""What a label file asks for."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch

from afield.errors import InputError
from afield.labeling.label_file import NONE_OF_THESE, Row, merged
from afield.labeling.plan import plan
from tests.labeling.tasks import small_task


@pytest.fixture
def task(tmp_path):
    return small_task(tmp_path / "site")[0]


@pytest.fixture
def truth(tmp_path):
    return small_task(tmp_path / "site")[1]


def purposes(rows):
    return Counter(row.purpose for row in rows)


def labeled(rows, truth, count):
    return [dataclasses.replace(row, label=truth[row.path]) for row in rows[:count]] + list(rows[count:])


def test_a_new_file_has_an_audit_sample_spread_among_the_chosen_images(task):
    rows = plan(task, [], 8, audit=4)
    assert purposes(rows) == {"chosen": 8, "audit": 4}
    assert len({row.path for row in rows}) == 12
    assert [row.purpose for row in rows].count("audit") == 4
    assert [i for i, row in enumerate(rows) if row.purpose == "audit"] == [1, 4, 7, 10]


def test_the_audit_sample_is_random_and_the_same_for_every_strategy(task):
    def audited(**options):
        return {row.path for row in plan(task, [], 8, audit=10, **options) if row.purpose == "audit"}

    assert audited(strategy="entropy") == audited(strategy="clue") != audited(seed=1)


def test_the_audit_sample_has_30_images_unless_the_file_says_otherwise(tmp_path):
    task = small_task(tmp_path / "large", per_class=30)[0]
    rows = plan(task, [], 5)
    assert purposes(rows) == {"audit": 30, "chosen": 5}
    assert purposes(plan(task, plan(task, [], 5, audit=3), 7)) == {"audit": 3, "chosen": 7}


def test_the_same_plan_again_changes_nothing_and_a_larger_one_keeps_what_is_there(task, truth):
    rows = labeled(plan(task, [], 6, audit=3), truth, 4)
    assert plan(task, rows, 6) == rows
    more = plan(task, rows, 9)
    assert set(rows) <= set(more)
    assert purposes(more) == {"audit": 3, "chosen": 9}
    assert [row for row in more if row.label] == rows[:4]


def test_images_with_a_row_are_not_chosen_again_whatever_they_are(task, truth):
    rows = [
        Row("00.png", NONE_OF_THESE, "chosen"),
        Row("01.png", "", "audit"),
        Row("02.png", truth["02.png"], "chosen"),
    ]
    found = plan(task, rows, 35, near_duplicates=True)
    assert len({row.path for row in found}) == 36


def test_strategies_are_given_the_refitted_head(task, truth):
    rows = labeled(plan(task, [], 9, audit=0, strategy="random"), truth, 9)
    pool = task.pool(rows, task.refitted(rows))
    assert pool.labeled.sum() == 9
    assert (pool.logits.argmax(dim=1)[pool.labeled] == pool.labels[pool.labeled]).all()
    least = plan(task, rows, 10, strategy="least_confidence")[-1]
    confidence = pool.logits.softmax(dim=1).amax(dim=1).where(pool.available, 2)
    assert least.path == task.paths[int(confidence.argmin())]


def test_the_labels_of_the_audit_sample_change_neither_head_nor_choice(task, truth):
    rows = labeled(plan(task, [], 6, audit=6), truth, 6)
    blind = [row if row.purpose == "chosen" else dataclasses.replace(row, label="") for row in rows]
    first, second = (task.refitted(each).head.weight for each in (rows, blind))
    assert torch.equal(first, second)
    assert {row.path for row in plan(task, rows, 9)} == {row.path for row in plan(task, blind, 9)}


def test_bald_is_given_draws(task):
    assert purposes(plan(task, [], 4, audit=0, strategy="bald")) == {"chosen": 4}


@pytest.mark.parametrize(("count", "audit"), [(40, 0), (30, 10)])
def test_more_images_than_there_are_cannot_be_labeled(task, count, audit):
    with pytest.raises(InputError, match="has 36 more images, fewer than the 40 to select"):
        plan(task, [], count, audit=audit)


def test_an_audit_sample_cannot_grow_after_images_were_chosen(task):
    with pytest.raises(InputError, match="has 2 images and cannot grow to 5 after images were chosen"):
        plan(task, plan(task, [], 3, audit=2), 3, audit=5)


def test_a_label_file_of_other_images_is_refused(task):
    with pytest.raises(InputError, match=r"contains no\.png, which is not an image in"):
        plan(task, [Row("no.png", "", "chosen")], 3)


def test_labels_from_elsewhere_keep_the_purpose_of_a_row():
    rows = [Row("1", "", "audit"), Row("2", "cat", "chosen")]
    other = [Row("1", "dog", "chosen"), Row("2", "", "chosen"), Row("3", "owl", "chosen")]
    assert merged(rows, other) == [Row("1", "dog", "audit"), Row("2", "cat", "chosen"), Row("3", "owl", "chosen")]


def test_no_group_is_in_both_the_audit_sample_and_the_chosen_images(task):
    grouped = dataclasses.replace(task, groups=torch.arange(len(task.paths)) // 3)
    rows = plan(grouped, [], 8, audit=4)
    groups = {
        purpose: {int(i) for i in grouped.groups[grouped.indices([row for row in rows if row.purpose == purpose])]}
        for purpose in ("audit", "chosen")
    }
    assert groups["audit"].isdisjoint(groups["chosen"])
    assert purposes(rows) == {"audit": 4, "chosen": 8}
    audited = [row.path for row in rows if row.purpose == "audit"]
    assert {row.path for row in plan(task, [], 8, audit=4) if row.purpose == "audit"} == set(audited)
