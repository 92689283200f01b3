"""The committed repetitions of the default comparison: their counts are right, and README quotes the default one."""

import re
from pathlib import Path

from afield.records import read_json

ROOT = Path(__file__).parent.parent


def test_the_counts_are_those_of_the_repetitions_and_readme_quotes_the_default():
    record = read_json(ROOT / "results" / "first-minute" / "summary.json")
    fresh = record["fresh"]
    assert len(fresh) == record["repetitions"]
    seeds = [seed for each in (record["default"], *fresh) for seed in each["seeds"]]
    assert len(set(seeds)) == len(seeds)
    assert record["recommended"] == sum(each["recommended"] == "color_jitter" for each in fresh)
    for each in fresh:
        both = min(each["these_domains"]["ci95"][0], each["new_place"]["ci95"][0]) > 0
        assert both == (each["recommended"] == "color_jitter")
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"recommended: color_jitter; {record['default']['reason']}" in readme
    assert f"in {record['recommended']} of {record['repetitions']} repetitions" in readme
    shown = [int(value) for value in re.findall(r"(\d+) % on them, and (\d+) % in an unseen domain", readme)[0]]
    assert shown[1] == round(100 * record["default"]["average"]["erm"])
