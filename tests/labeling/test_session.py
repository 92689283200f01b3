"""A labeling session: rows, browsers, undo, skip, refits."""

from __future__ import annotations

from collections import Counter

import pytest

from afield.errors import InputError
from afield.evaluation import wilson
from afield.labeling.label_file import NONE_OF_THESE, Row, read_labels
from afield.labeling.plan import plan
from afield.labeling.session import ConflictError, Session, Settings
from tests.labeling.tasks import NAMES, small_task


@pytest.fixture
def place(tmp_path):
    return small_task(tmp_path / "site")


@pytest.fixture
def session(place, tmp_path):
    return started(place[0], tmp_path)


def started(task, folder, count=12, audit=6, rows=(), **settings):
    rows = plan(task, list(rows), count, audit=audit, near_duplicates=True)
    return Session(task, rows, folder / "labels.csv", Settings(count, "clue", near_duplicates=True, **settings))


def answer(session, truth, browser="a"):
    """Label the image that a browser is shown; returns its path."""
    image = session.view(browser)["image"]
    session.label(browser, image["index"], truth[image["path"]])
    return image["path"]


def test_a_label_is_in_the_file_at_once_and_the_next_image_is_shown(session, place):
    first = answer(session, place[1])
    assert Row(first, place[1][first], "chosen") in read_labels(session.file, NAMES)
    view = session.view("a")
    assert view["image"]["path"] != first
    assert view["progress"] == {"audit": {"labeled": 0, "all": 6}, "chosen": {"labeled": 1, "all": 12}}


def test_a_view_again_shows_the_same_image_and_names_the_following_one(session):
    view = session.view("a")
    assert session.view("a") == view
    session.skip("a", view["image"]["index"])
    assert session.view("a")["image"]["index"] == view["following"]


def test_undo_takes_back_the_labels_of_this_browser_one_after_the_other(session, place):
    first, second = answer(session, place[1]), answer(session, place[1])
    answer(session, place[1], browser="b")
    for expected in (second, first):
        session.undo("a")
        assert session.view("a")["image"]["path"] == expected
    assert not session.view("a")["undo"]
    session.undo("a")
    assert sum(bool(row.label) for row in read_labels(session.file, NAMES)) == 1


def test_two_browsers_are_shown_different_images_and_cannot_overwrite_each_other(session, place):
    views = [session.view(browser)["image"] for browser in ("a", "b", "c")]
    assert len({view["index"] for view in views}) == 3
    session.label("b", views[0]["index"], "cat")
    with pytest.raises(ConflictError, match="was labeled cat in another browser"):
        session.label("a", views[0]["index"], "dog")
    assert session.view("a")["image"]["index"] not in [view["index"] for view in views]


def test_an_image_that_a_closed_browser_held_comes_last(session, place):
    left = session.view("closed")["image"]["path"]
    labeled = [answer(session, place[1]) for _ in range(18)]
    assert labeled[-1] == left
    assert session.view("a")["image"] is None


def test_skipped_images_come_again_after_all_others_in_their_order(session, place):
    skipped = []
    for _ in range(2):
        image = session.view("a")["image"]
        session.skip("a", image["index"])
        skipped.append(image["path"])
    assert [answer(session, place[1]) for _ in range(18)][-2:] == skipped


def test_none_of_these_is_a_label_that_trains_and_measures_nothing(session):
    for _ in range(18):
        session.label("a", session.view("a")["image"]["index"], NONE_OF_THESE)
    assert Counter(row.label for row in read_labels(session.file, NAMES)) == {NONE_OF_THESE: 18}
    assert session.view("a")["audit"] is None
    assert session.task.refitted(session.rows) is session.task.objective


def test_the_guess_is_hidden_on_audit_images_and_neighbors_are_the_nearest_labeled_ones(session, place):
    seen = Counter()
    for _ in range(18):
        image = session.view("a")["image"]
        seen[image["purpose"], "guess" in image, "neighbors" in image] += 1
        answer(session, place[1])
    assert seen == {("audit", False, False): 6, ("chosen", True, True): 12}
    session.undo("a")
    while session.view("a")["image"]["purpose"] == "audit":
        session.undo("a")
    image = session.view("a")["image"]
    features, labeled = session.task.features, [row for row in session.rows if row.label]
    distances = (features[session.task.indices(labeled)] - features[image["index"]]).norm(dim=1)
    nearest = distances.argsort()[:4].tolist()
    assert [each["label"] for each in image["neighbors"]] == [labeled[i].label for i in nearest]


def test_the_audit_so_far_has_the_interval_of_the_head_now_and_of_the_model_before(session, place):
    for _ in range(18):
        answer(session, place[1])
    session.refresh()
    found = session.view("a")["audit"]
    indices, labels = session.task.labeled(session.rows, "audit")
    for name, objective in (("before", session.task.objective), ("now", session.task.refitted(session.rows))):
        right = int((session.task.logits(objective)[indices].argmax(dim=1) == labels).sum())
        assert found[name] == {"value": right / 6, "ci95": wilson(right, 6), "n": 6}
    assert found["now"]["value"] > found["before"]["value"]


def test_after_some_labels_the_head_is_refitted_and_the_images_left_are_chosen_anew(place, tmp_path):
    session = started(place[0], tmp_path, refit_every=6)
    before = session.view("a")["fitted"]
    for _ in range(5):
        answer(session, place[1])
    session.refresh()
    assert session.view("a")["fitted"] == before == 0
    answer(session, place[1])
    shown, rows = session.view("a")["image"], session.rows
    session.refresh()
    assert session.view("a")["image"]["index"] == shown["index"]
    assert session.view("a")["fitted"] == sum(row.purpose == "chosen" for row in rows if row.label)
    assert {row.path for row in session.rows} != {row.path for row in rows}
    assert Counter(row.purpose for row in session.rows) == Counter(row.purpose for row in rows)
    assert read_labels(session.file, NAMES) == session.rows


def test_labels_that_arrive_while_the_head_is_refitted_stay(place, tmp_path):
    session = started(place[0], tmp_path, refit_every=2)
    plan_anew = session._planned
    arrived = []

    def slow(rows, objective):
        planned = plan_anew(rows, objective)
        arrived.extend(answer(session, place[1], browser) for browser in ("b", "b", "c"))
        return planned

    session._planned = slow
    answer(session, place[1])
    answer(session, place[1])
    session.undo("a")
    answer(session, place[1])
    session.refresh()
    rows = {row.path: row.label for row in session.rows}
    assert [rows[path] for path in arrived] == [place[1][path] for path in arrived]
    assert Counter(row.purpose for row in session.rows)["chosen"] == 12


def test_a_session_goes_on_from_its_file(place, tmp_path, session):
    labeled = [answer(session, place[1]) for _ in range(5)]
    again = started(place[0], tmp_path, rows=read_labels(session.file, NAMES), audit=None)
    assert again.rows == session.rows
    assert [row.path for row in again.rows if row.label] == labeled
    assert again.view("new")["fitted"] == sum(row.purpose == "chosen" for row in again.rows if row.label)


def test_a_label_that_cannot_be_written_is_not_taken(session, place, monkeypatch):
    image = session.view("a")["image"]
    monkeypatch.setattr("afield.labeling.session.write_labels", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        session.label("a", image["index"], "cat")
    assert session.view("a")["image"] == image
    assert not session.view("a")["undo"]


@pytest.mark.parametrize(("index", "label"), [(-1, "cat"), (999, "cat"), (0, "horse"), (0, "")])
def test_what_is_not_listed_cannot_be_labeled(session, index, label):
    with pytest.raises(InputError, match=r"unknown class|no image"):
        session.label("a", index, label)


def test_only_listed_images_have_a_file(session, place):
    listed = {session.task.paths.index(row.path) for row in session.rows}
    for index in range(-2, 40):
        file = session.listed(index)
        assert (file is not None) == (index in listed)
