"""The wheel contains every module and data file of the package."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytest.importorskip("hatchling")


INSTALLED = """
import sys
from pathlib import Path

import afield
from afield.cli import main

assert Path(afield.__file__).parent == Path(sys.argv[1], "afield"), afield.__file__
main(["compare", "--epochs", "1", "--seeds", "1", "--recipes", "erm", "--out", "run"])
Path("run/report.html").unlink()
main(["report", "run"])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without isolation and network, as it is released."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_alone_runs_a_comparison_and_a_report(wheel, tmp_path):
    """Its content is the only folder beside the packages that it requires."""
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "AFIELD_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-P", "-c", INSTALLED, tmp_path / "site"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "recommended: " in done.stdout
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "erm" in page
    assert page.rstrip().endswith("</html>")


def test_the_wheel_contains_all_files_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as content:
        packed = {name: content.read(name) for name in content.namelist()}
    files = [
        path for path in (ROOT / "src" / "afield").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {path.suffix for path in files} >= {".py", ".j2", ".typed", ".html", ".css", ".js"}
    expected = {path.relative_to(ROOT / "src").as_posix(): path.read_bytes() for path in files}
    assert {name: data for name, data in packed.items() if name.startswith("afield/")} == expected
    metadata = message_from_bytes(next(data for name, data in packed.items() if name.endswith("/METADATA")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Version"] == project["version"]
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(required) == len(project["dependencies"])
    entry_points = next(data for name, data in packed.items() if name.endswith("/entry_points.txt"))
    assert b"afield = afield.cli:main" in entry_points


def test_all_places_state_the_same_version():
    import yaml

    import afield

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert afield.__version__ == project["version"] == citation["version"]
