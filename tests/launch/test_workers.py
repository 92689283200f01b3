"""Helpers of a comparison: processes that end with their work or with who asked for them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from afield.launch.workers import PROGRAM

COMMAND = """
import sys
from afield.errors import InputError

class Command:
    def help(self):
        print("helped")

class Bad:
    def help(self):
        raise InputError("no")

class Endless:
    def help(self):
        import time
        print("begun", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Start a helper with one of the commands above; its standard input stays open."""
    (tmp_path / "a_command.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(str(tmp_path))
    processes = []

    def start(name):
        import a_command

        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes)
        processes.append(process)
        process.stdin.write(pickle.dumps(getattr(a_command, name)()))
        process.stdin.flush()
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("name", "code", "said"), [("Command", 0, b"helped\n"), ("Bad", 2, b"")])
def test_a_helper_ends_with_its_work_and_in_silence_while_its_input_is_open(helper, name, code, said):
    process = helper(name)
    assert process.wait(timeout=60) == code
    assert process.stdout.read() == said
    assert process.stderr.read() == b""


def test_a_helper_ends_when_who_asked_for_it_is_gone(helper):
    process = helper("Endless")
    assert process.stdout.readline() == b"begun\n"
    process.stdin.close()
    assert process.wait(timeout=60) == 1
