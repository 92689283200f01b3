"""``afield report``: the page of a comparison or of a reproduction, from committed records alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from afield.records import read_json

RESULTS = Path(__file__).parents[2] / "results"
COMPARISONS = sorted(path.parent.name for path in RESULTS.glob("*/analysis.json"))
REPRODUCTIONS = sorted(path.parent.name for path in RESULTS.glob("reproduce-*/summary.json"))


def copied(name: str, folder: Path) -> Path:
    """The folder with the records of committed results, without figures."""
    folder.mkdir()
    for path in (RESULTS / name).glob("*.json*"):
        shutil.copy(path, folder / path.name)
    return folder


def test_there_are_committed_results_of_both_kinds():
    assert "pacs-frozen" in COMPARISONS
    assert "reproduce-flattening" in REPRODUCTIONS


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_committed_comparison_has_its_page(afield, tmp_path, name):
    folder = copied(name, tmp_path / name)
    code, out, err = afield("report", folder)
    assert code == 0, err
    assert out.split() == [str(folder / "report.html")]
    page = (folder / "report.html").read_text()
    for row in read_json(folder / "summary.json")["recipes"].values():
        assert f"{100 * row['average']['mean']:.1f}" in page


@pytest.mark.parametrize("command", ["report", "table"])
def test_pages_and_tables_of_a_comparison_load_no_torch(tmp_path, command):
    folder = copied("pacs-frozen", tmp_path / "results")
    program = f"import sys, afield.cli; afield.cli.main(['{command}', '{folder}']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_committed_comparison_says_which_metric_it_lacks(afield, tmp_path):
    folder = copied("pacs-frozen", tmp_path / "results")
    code, _, err = afield("report", folder, "--metric", "macro_f1")
    assert code == 2
    assert "a record does not contain the metric macro_f1, as in earlier versions; it contains accuracy" in err
    assert "did you mean 'macro_f1'" in afield("report", folder, "--metric", "macro_f2")[2]


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_committed_reproduction_has_its_page_and_its_figures(afield, tmp_path, name):
    folder = copied(name, tmp_path / name)
    code, _, err = afield("report", folder)
    assert code == 0, err
    assert f"Created by {read_json(folder / 'summary.json')['command']}." in (folder / "report.html").read_text()
    for figure in (RESULTS / name).glob("*.svg"):
        assert (folder / figure.name).read_text() == figure.read_text()


def test_a_folder_without_results_is_refused_in_one_line(afield, tmp_path):
    code, _, err = afield("report", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert "summary.json" in err


@pytest.mark.parametrize("file", ["summary.json", "analysis.json", "gallery.json", "records.jsonl"])
@pytest.mark.parametrize(
    "text", ["{}", "null", "[]", '{"samples": {"art": [{"image": "https://a.b/c"}]}}', "[" * 100_000]
)
def test_altered_files_are_refused_in_one_line(afield, tmp_path, file, text):
    folder = copied("pacs-frozen", tmp_path / "results")
    (folder / file).write_text(text)
    code, _, err = afield("report", folder)
    harmless = file == "gallery.json" and text == "{}"
    assert (code, err.count("\n")) == ((0, 0) if harmless else (2, 1)), err


def test_a_gallery_that_would_load_images_from_elsewhere_is_refused(afield, tmp_path):
    folder = copied("pacs-frozen", tmp_path / "results")
    (folder / "gallery.json").write_text('{"samples": {"art": [{"image": "https://a.b/c"}]}}')
    assert "an image must be a data URL, got 'https://a.b/c'" in afield("report", folder)[2]
