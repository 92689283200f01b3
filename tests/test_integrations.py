"""afield in other people's training code: the examples learn, and the page shows all that integrates, verbatim."""

from __future__ import annotations

import ast
import io
import re
import runpy
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "integration.md").read_text()
SNIPPETS = dict(re.findall(r"From `examples/(\w+\.py)`.*?```python\n(.*?)```", PAGE, re.DOTALL))
NEEDED = {
    "own_loop.py": [],
    "in_lightning.py": ["lightning"],
    "in_timm.py": ["timm.task"],
    "in_hugging_face.py": ["transformers", "accelerate"],
    "in_fastai.py": ["fastai"],
}


@pytest.mark.parametrize(
    ("name", "count"), [("in_lightning.py", 1), ("in_timm.py", 2), ("in_hugging_face.py", 1), ("in_fastai.py", 1)]
)
def test_the_example_learns_and_leaves_nothing_behind(name, count, tmp_path, capsys, monkeypatch):
    for module in NEEDED[name]:
        pytest.importorskip(module, reason=f"examples/{name} needs {module}")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert not list(tmp_path.iterdir())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == count
    assert all(float(line.rsplit(maxsplit=1)[1]) > 0.85 for line in lines)


def test_every_integration_is_on_the_page():
    assert list(SNIPPETS) == list(NEEDED)


@pytest.mark.parametrize("name", NEEDED)
def test_the_page_shows_the_example_verbatim(name):
    source = (ROOT / "examples" / name).read_text()
    place = 0
    for paragraph in re.split(r"\n{2,}", SNIPPETS[name].strip("\n")):
        place = source.index(f"\n{paragraph}\n", place) + len(paragraph)


@pytest.mark.parametrize("name", NEEDED)
def test_what_touches_afield_is_on_the_page_and_under_fifteen_lines(name):
    source = (ROOT / "examples" / name).read_text()
    shown = [line for line in SNIPPETS[name].splitlines() if line]
    assert len(shown) < 15
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "afield"
        for alias in node.names
    }
    assert imported
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in imported | {"afield", "objective"}:
            assert token.line.rstrip("\n") in shown
