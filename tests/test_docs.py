"""What is generated from registries and records is up to date, and the doctests of the public parts hold."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def test_generated_tables_are_up_to_date():
    command = [sys.executable, str(ROOT / "docs" / "make_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "afield.augment.params",
        "afield.augment.policies.policy",
        "afield.prefetch",
        "afield.augment.policies.trivial",
        "afield.losses.criterion",
        "afield.losses.cross_entropy",
        "afield.losses.flattening",
        "afield.heads.arcface",
        "afield.objective",
        "afield.evaluation.statistics",
        "afield.records.naming",
    ],
)
def test_the_examples_in_docstrings_hold(module):
    torch.manual_seed(0)
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0


def test_committed_records_are_whole_and_name_no_place_on_a_disk():
    for path in sorted((ROOT / "results").glob("*/records.jsonl")):
        text = path.read_text()
        assert '"commit"' in text
        assert not any(f'"{place}' in text for place in ("/home", "/root", "/tmp", "/work")), path
