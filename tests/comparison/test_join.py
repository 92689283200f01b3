"""Run folders joined: which runs count, selection rules side by side, and tests over data sets."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from afield.comparison.join import join, shared_recipes, summaries
from afield.comparison.summary import select, summarize
from afield.errors import InputError
from afield.evaluation import ranks, signed_rank_p
from afield.records import Epoch, read_compared, read_records, read_summary, write_records, write_summary
from tests.command_line import refused
from tests.made_records import made_record

RESULTS = Path(__file__).parents[2] / "results"


def records_of(data: str, recipe: str, shift: float, seeds=(0, 1, 2), domains=("ink", "oil"), **config):
    """Runs of two epochs; the second is better on validation images and worse in the unseen domain."""
    found = []
    for seed in seeds:
        for number, domain in enumerate(domains):
            value = 0.5 + shift + 0.01 * seed + 0.1 * number
            epochs = (
                Epoch(1.0, {"accuracy": 0.6}, {domain: {"accuracy": value + 0.05}}),
                Epoch(0.5, {"accuracy": 0.8}, {domain: {"accuracy": value}}),
            )
            settings = {"data": {"name": data, "fingerprint": data}, "recipe": {"name": recipe, **config}}
            run = f"{data}-{recipe}-{seed}-{domain}-{config}"
            images = {"train": 60, "validation": 6, f"test/{domain}": 20}
            found.append(
                made_record(run=run, recipe=recipe, seed=seed, held_out=(domain,), epochs=epochs, config=settings,
                            images=images)
            )  # fmt: skip
    return found


def folder_of(path: Path, *groups) -> Path:
    records = [record for group in groups for record in group]
    path.mkdir(parents=True, exist_ok=True)
    write_records(path / "records.jsonl", records)
    selected = select(records, "train_validation")
    write_summary(path / "summary.json", summarize(selected, records[0].config["data"]["name"], "train_validation"))
    return path


def test_recipes_of_two_folders_come_into_one_table_and_equal_runs_count_once(tmp_path):
    erm, other, third = (records_of("pets", name, shift) for name, shift in (("erm", 0), ("sd", 0.1), ("coral", -0.1)))
    (joined,) = join([folder_of(tmp_path / "a", erm, other), folder_of(tmp_path / "b", erm, third)])
    assert (joined.name, len(joined.records), joined.left_out) == ("pets", 18, 0)
    summary = joined.summary("train_validation", "accuracy", "erm")
    assert {name: row.average.mean for name, row in summary.recipes.items()} == pytest.approx(
        {"erm": 0.56, "sd": 0.66, "coral": 0.46}
    )
    oracle = joined.summary("oracle", "accuracy", "sd")
    assert oracle.recipes["erm"].average.mean == pytest.approx(0.61)
    assert oracle.recipes["coral"].vs_erm.mean == pytest.approx(-0.2)


def test_only_domains_and_seeds_of_all_recipes_count(tmp_path):
    erm, fewer = records_of("pets", "erm", 0), records_of("pets", "sd", 0.1, seeds=(1, 2, 5), domains=("oil",))
    (joined,) = join([folder_of(tmp_path / "a", erm), folder_of(tmp_path / "b", fewer)])
    assert {(r.recipe, r.unseen, r.seed) for r in joined.records} == {
        (name, "oil", seed) for name in ("erm", "sd") for seed in (1, 2)
    }
    assert joined.left_out == 5
    others = folder_of(tmp_path / "c", records_of("pets", "coral", 0, seeds=(7,)))
    with pytest.raises(InputError, match="pets: the recipes erm, coral have no seed with the same domains in common"):
        join([tmp_path / "a", others])


def test_a_recipe_of_one_name_with_other_settings_is_refused(tmp_path):
    first = folder_of(tmp_path / "a", records_of("pets", "erm", 0))
    second = folder_of(tmp_path / "b", records_of("pets", "erm", 0, head="cosine"))
    with pytest.raises(InputError, match="pets: the recipe 'erm' has different settings in the folders"):
        join([first, second])


def test_other_settings_are_not_mixed_and_do_not_count_as_another_data_set(tmp_path):
    first = records_of("pets", "erm", 0)
    larger = [dataclasses.replace(r, config={**r.config, "memory": 5}, run=f"{r.run}+") for r in first]
    joined = join([folder_of(tmp_path / "a", first), folder_of(tmp_path / "b", larger)])
    assert [each.name for each in joined] == ["pets (a)", "pets (b)"]
    assert shared_recipes(joined) == []


def test_rules_without_their_runs_are_refused(tmp_path):
    joined = join([folder_of(tmp_path / "a", records_of("pets", "erm", 0))])
    with pytest.raises(InputError, match="pets: leave_one_out_validation needs runs with two domains held out"):
        summaries(joined, ["leave_one_out_validation"], "accuracy", "erm")


def test_the_page_has_tests_over_data_sets(afield, tmp_path):
    names, folders = ("pets", "birds", "cars", "cells", "maps", "tools"), []
    rng, shifts = np.random.default_rng(0), {"erm": 0.0, "sd": 0.05, "coral": -0.05}
    for name in names:
        groups = [records_of(name, recipe, shift + rng.normal(0, 0.02)) for recipe, shift in shifts.items()]
        folders.append(folder_of(tmp_path / name, *groups))
    code, out, err = afield("report", *folders, "--selection", "last", "oracle", "--out", tmp_path / "page")
    assert (code, err) == (0, "")
    assert out == f"{tmp_path / 'page' / 'report.html'}\n"
    assert (tmp_path / "page" / "ranks-last.svg").exists()
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", (tmp_path / "page" / "report.html").read_text()))
    averages = {
        recipe: [read_summary(folder / "summary.json").recipes[recipe].average.mean for folder in folders]
        for recipe in shifts
    }
    found = ranks(averages)
    assert f"p = {found.friedman_p:.3f}" in text
    assert "critical difference of average ranks is 1.35" in text
    assert "at least 0.031" in text
    p = signed_rank_p(averages["sd"], averages["erm"], comparisons=2)
    values = " ".join(f"{100 * value:.1f}" for value in averages["sd"])
    assert f"sd {values} {found.average['sd']:.2f} {p:.3f}" in text
    assert "ORACLE, an upper bound − erm" in text


def test_committed_records_show_rules_side_by_side(afield, tmp_path):
    code, _, _ = afield(
        "report", RESULTS / "pacs-frozen", "--selection", "train_validation", "last", "--out", tmp_path / "page"
    )
    assert code == 0
    text = (tmp_path / "page" / "report.html").read_text()
    for rule in ("train_validation", "last"):
        summary = summarize(select(read_compared(RESULTS / "pacs-frozen"), rule), "pacs", rule)
        assert f"{100 * summary.recipes['flattening'].average.mean:.1f} ±" in text
    assert "Over data sets" not in text


def test_one_folder_is_shown_by_another_rule_and_baseline(afield, tmp_path):
    shutil.copytree(RESULTS / "pacs-frozen", tmp_path / "pacs")
    code, _, err = afield("report", tmp_path / "pacs", "--selection", "last", "--baseline", "flattening")
    assert code == 0, err
    text = (tmp_path / "pacs" / "report.html").read_text()
    summary = summarize(select(read_records(RESULTS / "pacs-frozen"), "last"), "pacs", "last", baseline="flattening")
    assert f"{100 * summary.recipes['erm'].vs_erm.mean:+.1f}".replace("-", "−") in text
    assert "vs. flattening" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--selection", "oracel"), "unknown selection rule 'oracel'; did you mean 'oracle'"),
        (("--metric", "acuracy"), "unknown metric 'acuracy'; did you mean 'accuracy'"),
        (("--baseline", "emr"), "unknown recipe in --baseline: 'emr'; did you mean 'erm'"),
        (("--out", "page"), "--out is for several comparisons or selection rules"),
        (("--selection", "leave_one_out_validation"), "leave_one_out_validation needs the runs with two domains"),
    ],
)
def test_mistakes_are_named(afield, words, expected):
    assert expected in refused(afield, "report", RESULTS / "pacs-frozen", *words)
