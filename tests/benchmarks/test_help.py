"""The benchmarks start, say what they take, and have a quick form."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from tests.benchmarks.script import FOLDER


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text()))
def test_a_benchmark_says_what_it_takes_and_has_a_quick_form(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    monkeypatch.syspath_prepend(FOLDER)  # as where a script is started: benchmarks import each other
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert end.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_domainbed_says_in_a_sentence_that_its_copy_is_missing(tmp_path):
    command = [sys.executable, "-W", "ignore", str(FOLDER / "domainbed.py"), "--domainbed", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: there is no copy of DomainBed in {tmp_path}: it has no file domainbed/algorithms.py\n"
    )
