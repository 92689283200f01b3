"""The model card: every number in it is in a record."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import afield as package
from tests.command_line import refused
from tests.conftest import write_photos

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with a comparison and a model of the same photos."""
    folder = tmp_path_factory.mktemp("site")
    data = str(write_photos(folder / "photos", ("day", "dusk", "night")))
    package.compare(data=data, epochs=1, seeds=3, recipes=("erm",), image_size=16, out=folder / "comparison")
    package.train(data=data, epochs=2, recipe="erm", image_size=16, out=folder / "model")
    return folder


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *leaves(inner))]
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, list) else [value]


def forms(records: list[Any]) -> set[str]:
    """The numbers of records as a card can show them: themselves, in percent, rounded, and inside text."""
    found = set()
    for value in leaves(records):
        if isinstance(value, str):
            found |= {*NUMBER.findall(value)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found |= {str(value), f"{value:,}", f"{100 * value:.1f}", f"{value:.1f}", f"{value:.3f}", f"{value:.0f}"}
    return found


def test_every_number_in_the_card_is_in_a_record(afield, site):
    model, comparison = site / "model", site / "comparison"
    code, printed, err = afield("card", model, "--comparison", comparison, "--license", "apache-2.0")
    assert code == 0, err
    assert str(model / "README.md") in printed
    text = (model / "README.md").read_text()
    record = json.loads((model / "record.json").read_text())
    summary = json.loads((comparison / "summary.json").read_text())
    description = json.loads((model / "model.json").read_text())
    epochs = [record["epochs"][i]["validation"]["accuracy"] for i in range(2)]
    derived = [len(description["class_names"]), len(epochs), epochs.index(max(epochs)) + 1]
    allowed = forms([record, description, summary["recipes"]["erm"], derived]) | {"95"}  # 95 % intervals
    shown = NUMBER.findall(text.split("---", 2)[2])
    assert len(shown) > 60
    assert [number for number in shown if number not in allowed] == []


def test_the_card_has_the_results_of_each_domain_and_front_matter(afield, site):
    afield("card", site / "model", "--comparison", site / "comparison", "--license", "apache-2.0")
    text = (site / "model" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == "image-classification"
    assert "cat, dog, owl" in text
    row = json.loads((site / "comparison" / "summary.json").read_text())["recipes"]["erm"]
    for name, estimate in (*row["domains"].items(), ("average", row["average"])):
        low, high = (f"{100 * end:.1f}" for end in estimate["ci95"])
        assert f"| {name} | {100 * estimate['mean']:.1f} | {low} to {high} | 3 |" in text


def test_without_a_comparison_the_card_says_what_was_not_measured(site, tmp_path):
    shutil.copytree(site / "model", tmp_path / "model")
    text = package.card(tmp_path / "model").read_text()
    assert "The accuracy on domains left out of training was not measured" in text
    assert "license" not in yaml.safe_load(text.split("---")[1])


def test_a_card_needs_records_of_the_same_data_and_recipe(afield, site, tmp_path):
    shutil.copytree(site / "model", tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# My notes\n")
    assert "is not a model card of afield and would be replaced" in refused(afield, "card", tmp_path / "model")
    assert (tmp_path / "model" / "README.md").read_text() == "# My notes\n"
    assert "model.json" in refused(afield, "card", tmp_path)
    shutil.copytree(site / "comparison", tmp_path / "comparison")
    records = tmp_path / "comparison" / "records.jsonl"
    fingerprint = json.loads((site / "model" / "record.json").read_text())["config"]["data"]["fingerprint"]
    records.write_text(records.read_text().replace(fingerprint, "0" * 16))
    said = refused(afield, "card", site / "model", "--comparison", tmp_path / "comparison")
    assert "is a comparison on other data than this model's " in said
