"""The committed card of a PACS model: its numbers come from the records beside it (`docs/make_tables.py` writes it)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from tests.deploy.test_card import NUMBER, forms

FOLDER = Path(__file__).parents[2] / "results" / "pacs-flattening"
DOMAINS = ("art_painting", "cartoon", "photo", "sketch")


@pytest.fixture(scope="module")
def card() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compared() -> list[dict]:
    lines = (FOLDER / "comparison" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["recipe"] == "flattening"]


def selected(record: dict) -> float:
    """The test accuracy after the epoch with the best validation accuracy."""
    validation = [epoch["validation"]["accuracy"] for epoch in record["epochs"]]
    (figures,) = record["epochs"][validation.index(max(validation))]["test"].values()
    return figures["accuracy"]


def row(name: str, values: list[float]) -> str:
    """A row of the table of domains: mean and Student-t interval over seeds, by hand."""
    n, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n)
    low, high = mean - half, min(mean + half, 1)
    return f"| {name} | {100 * mean:.1f} | {100 * low:.1f} to {100 * high:.1f} | {n} |"


def test_the_results_of_each_domain_follow_from_the_records_of_the_runs(card, compared):
    by_domain = {name: [selected(each) for each in compared if each["held_out"] == [name]] for name in DOMAINS}
    assert {len(values) for values in by_domain.values()} == {5}
    average = [sum(values) / len(DOMAINS) for values in zip(*by_domain.values(), strict=True)]
    for name, values in (*by_domain.items(), ("average", average)):
        assert row(name, values) in card


def test_every_number_is_in_a_record(card, compared):
    record = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
    summary = json.loads((FOLDER / "comparison" / "summary.json").read_text(encoding="utf-8"))
    validation = [epoch["validation"]["accuracy"] for epoch in record["epochs"]]
    derived = [len(description["class_names"]), len(validation), validation.index(max(validation)) + 1]
    allowed = forms([record, description, summary["recipes"]["flattening"], derived]) | {"95"}  # 95 % intervals
    shown = NUMBER.findall(card.split("---", 2)[2])
    assert len(shown) > 60
    assert [number for number in shown if number not in allowed] == []
    assert {each["config"]["data"]["fingerprint"] for each in compared} == {record["config"]["data"]["fingerprint"]}


def test_the_records_name_no_place_on_a_disk():
    for path in FOLDER.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert not any(f'"{place}' in text for place in ("/home", "/root", "/tmp", "/work")), path
