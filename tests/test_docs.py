"""What is generated from registries and records is up to date, and the examples in docstrings hold."""

from __future__ import annotations

import csv
import doctest
import importlib
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from afield.data import Validation, load, make_fold
from afield.deploy.confidence import Confidence
from afield.records import read_record, read_records

ROOT = Path(__file__).parent.parent


def test_generated_tables_are_up_to_date():
    command = [sys.executable, str(ROOT / "docs" / "make_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def commands(page: str) -> list[list[str]]:
    """The command lines in the ``sh`` blocks of a page, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return [words for line in "".join(blocks).splitlines() if (words := shlex.split(line, comments=True))]


@pytest.fixture
def followed(afield, monkeypatch, tmp_path, capsys):
    """Run the commands of a page, one after the other, in an empty folder; returns what each one printed.

    The files that the page shows, whose first line is a comment with their name, are in the folder.
    """
    monkeypatch.chdir(tmp_path)

    def run(page: str) -> list[tuple[list[str], str, str]]:
        printed = []
        for text, name in re.findall(r"```toml\n(# (\S+)\n.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL):
            (tmp_path / name).write_text(text)
        for program, *arguments in commands(page):
            if program == "python":
                monkeypatch.setattr(sys, "argv", arguments)
                runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
                found = capsys.readouterr()
                code, out, err = 0, found.out, found.err
            else:
                assert program == "afield"
                code, out, err = afield(*arguments)
            assert code == 0, (arguments, err)
            printed.append((arguments, out, err))
        return printed

    return run


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


def test_the_page_about_tables_runs_from_compare_to_predict_and_keeps_groups_together(followed, tmp_path):
    printed = followed("tables.md")
    page = (ROOT / "docs" / "tables.md").read_text()
    table = tmp_path / "traps" / "images.csv"
    assert "\n".join(table.read_text().splitlines()[:3]) in page
    by_verb = {arguments[0]: out for arguments, out, _ in reversed(printed)}  # the first output of each verb
    assert "Moor" in by_verb["evaluate"]
    assert len(by_verb["predict"].splitlines()) == len(list((tmp_path / "traps" / "Moor").iterdir()))
    assert "IMG" in by_verb["predict"]
    (said,) = [err for arguments, _, err in printed if "runs/without-groups" in arguments]
    example = re.search(r"```\n(warning: leakage.*?)```", page, re.DOTALL)
    assert example is not None
    assert " ".join(example[1].split()) in " ".join(said.split())
    data = load(str(table), image_size=32)
    records = read_records(tmp_path / "runs" / "compare-traps")
    assert {record.held_out for record in records} == {("Moor",), ("Hütte Süd",)}
    check_groups(data, records)


def check_groups(data, records):
    """Each record is that of a split that has no group on both sides."""
    for record in records:
        fold = make_fold(data, record.held_out, Validation(), record.seed)
        assert fold.hash(data) == record.split_hash
        parts = [set(data.groups[part].tolist()) for part in (fold.train, fold.val, *fold.tests.values())]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_the_tutorial_of_the_ecologist_ends_with_a_file_for_review(followed, tmp_path):
    printed = followed("tutorials/ecologist.md")
    outputs = {arguments[0]: out for arguments, out, _ in printed}
    data = load("traps/images.csv", image_size=32)
    groups = data.groups
    check_groups(data, [*read_records(Path("runs/sites")), read_record(Path("runs/traps-model/record.json"))])
    assert f"{len(set(groups.tolist()))} groups of {len(groups)} images" in " ".join(outputs["evaluate"].split())
    confidence = Confidence.load(tmp_path / "runs" / "traps-model")
    assert confidence.unseen
    assert set(confidence.parts) == {"Moor", "Hütte Süd"}
    with open("review.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"traps/Moor/{path.name}" for path in sorted(Path("traps/Moor").iterdir())]
    assert {"class", "probability", "class_2", "distance", "review"} <= rows[0].keys()
    assert {row["review"] for row in rows} <= {"true", "false"}


def test_the_tutorial_of_the_engineer_shows_the_example_and_measures_each_loss(followed):
    (_, out, _), (_, table, _) = followed("tutorials/engineer.md")
    page, source = (
        (ROOT / path).read_text() for path in ("docs/tutorials/engineer.md", "examples/unseen_in_own_loop.py")
    )
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 2
    for line in "".join(snippets).splitlines():
        assert re.search(rf"^ *{re.escape(line.strip())}$", source, re.MULTILINE), line
    lines = [line for line in out.splitlines() if "accuracy" in line]
    found = [float(re.search(r" (0\.\d+) \[", line)[1]) for line in lines]
    assert len(found) == 4
    assert all(value > 0.3 for value in found)
    assert "mine" in table


def test_the_tutorial_of_the_student_ends_with_tables_of_the_same_runs(followed, tmp_path, capsys):
    printed = followed("tutorials/student.md")
    latex, csv_table = (out for arguments, out, _ in printed if arguments[0] == "table")
    assert latex.count("mine") == 1
    assert "toprule" in latex
    assert "mine" in csv_table
    records = read_records(tmp_path / "runs" / "student")
    assert {record.recipe for record in records} == {"erm", "coral", "mine"}
    assert {record.selection.rule for record in records} == {"last"}
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/tutorials/student.md").read_text(), re.DOTALL)
    exec(code, {})
    assert "mine" in capsys.readouterr().out
