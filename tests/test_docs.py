"""What is generated from registries and records is up to date, and the examples in docstrings hold."""

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


def modules() -> list[str]:
    """The names of all modules of the package."""
    files = (path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src" / "afield").rglob("*.py"))
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files)


def has_examples(module: str) -> bool:
    """Whether the file of a module holds an example that can be run."""
    path = (ROOT / "src").joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return any(">>>" in line and "+SKIP" not in line for line in file.read_text().splitlines())


DOCTESTS = [module for module in modules() if has_examples(module)]


def test_examples_in_docstrings_are_found():
    assert {"afield.objective", "afield.losses.flattening", "afield.augment.spatial.random_affine"} <= set(DOCTESTS)


@pytest.mark.parametrize("module", DOCTESTS)
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
