"""The wheel contains every module and data file of the package."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytest.importorskip("hatchling")


def test_the_wheel_contains_all_files_of_the_package(tmp_path):
    """Built without isolation and network, as it is released."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        packed = {name: content.read(name) for name in content.namelist()}
    files = [
        path for path in (ROOT / "src" / "afield").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {path.suffix for path in files} >= {".py", ".j2", ".typed"}
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
