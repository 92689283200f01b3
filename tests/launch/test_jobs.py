"""Several runs at a time: the same result, whoever executed a run and whoever died."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from afield.records import HeldError, exclusive
from tests.launch.small_compare import finish, start


def children(process: subprocess.Popen[bytes]) -> list[int]:
    file = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def wait_for_helper(process: subprocess.Popen[bytes], out: Path) -> int:
    """The id of the helper, once two runs are under way."""
    while process.poll() is None and (len(list(out.glob("runs/*"))) < 2 or not children(process)):
        time.sleep(0.02)
    return children(process)[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finish(tmp_path_factory.mktemp("alone") / "out")


def test_two_at_a_time_give_the_summary_of_one(alone, tmp_path):
    assert finish(tmp_path / "out", "--jobs", "2") == alone


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the helper in /proc")


@needs_proc
def test_a_helper_that_is_killed_leaves_its_run_to_the_other(alone, tmp_path):
    out = tmp_path / "out"
    process = start(out, "--jobs", "2")
    os.kill(wait_for_helper(process, out), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert (out / "summary.json").read_text() == alone


@needs_proc
def test_helpers_end_with_the_process_that_called_them_and_the_command_goes_on(alone, tmp_path):
    out = tmp_path / "out"
    process = start(out, "--jobs", "2")
    helper = wait_for_helper(process, out)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{helper}/stat").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{helper}/stat").exists()
    assert finish(out, "--jobs", "2") == alone


@pytest.mark.parametrize("arguments", [("--jobs", "0"), ("--threads", "0"), ("--jobs", "2", "--devices", "2")])
def test_a_number_that_makes_no_sense_is_refused_in_one_line(afield, tmp_path, arguments):
    code, _, err = afield("compare", "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert err.startswith("afield: --jobs") or err.startswith("afield: --threads")
    assert err.count("\n") == 1


def test_a_folder_that_another_holds_is_told_apart_from_one_that_cannot_be_written(tmp_path):
    with exclusive(tmp_path / "run"), pytest.raises(HeldError, match="in use"), exclusive(tmp_path / "run"):
        pass
