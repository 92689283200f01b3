"""Forked processes do their own work only."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

from tests import forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


class Garbage:
    """An object that only garbage collection removes; it writes the id of the process that does."""

    def __init__(self, file: Path) -> None:
        self.file, self.itself = file, self

    def __del__(self) -> None:
        self.file.write_text(str(os.getpid()))


def test_a_fork_leaves_the_garbage_of_this_process_to_it(tmp_path):
    gc.disable()
    try:
        Garbage(tmp_path / "collected")
        process = forks.start(gc.collect)
        process.join()
    finally:
        gc.enable()
    assert process.exitcode == 0
    assert not (tmp_path / "collected").exists()
    gc.collect()
    assert (tmp_path / "collected").read_text() == str(os.getpid())
