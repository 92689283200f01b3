"""Provenance describes the installation and the run, and does not depend on what the process did before."""

from __future__ import annotations

import pytest

from afield.errors import InputError
from afield.launch.local import cpu_threads
from afield.recipes import resolve
from afield.runs.provenance import provenance


def test_the_versions_are_those_of_the_packages_that_are_installed_used_or_not(tmp_path, monkeypatch):
    before = provenance()
    information = tmp_path / "absent-1.5.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: absent\nVersion: 1.5\n")
    (information / "entry_points.txt").write_text("[afield.recipes]\nabsent = absent:RECIPE\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert provenance()["versions"] == {**before["versions"], "absent": "1.5"}
        with pytest.raises(InputError, match="recipe 'absent' of the package absent cannot be loaded"):
            resolve(["absent"])
    assert provenance() == before


def test_the_threads_are_those_of_the_run():
    with cpu_threads(1):
        assert provenance()["hardware"]["threads"] == 1
        with cpu_threads(2):
            assert provenance()["hardware"]["threads"] == 2
