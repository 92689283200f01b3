"""The examples run as they stand."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, capsys, monkeypatch, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_own_loop_reaches_a_real_accuracy(capsys, monkeypatch):
    assert float(run("own_loop.py", capsys, monkeypatch).rsplit(maxsplit=1)[1]) > 0.9


def test_drop_in_loss_leaves_the_wrong_classes_small(capsys, monkeypatch):
    assert float(run("drop_in_loss.py", capsys, monkeypatch).rsplit(maxsplit=1)[1]) < 0.2


def test_compare_and_use_ends_with_predictions(capsys, monkeypatch):
    lines = run("compare_and_use.py", capsys, monkeypatch, "1").splitlines()
    assert lines[0].startswith("{'erm': 0.")
    assert all(line.split()[0] in "0123456789" for line in lines[-3:])
