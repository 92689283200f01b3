"""Helpers of a comparison: processes that end with their work or with who asked for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from afield.launch.workers import send

PROGRAM = "from afield.launch.workers import serve; serve()"

COMMAND = """
import sys
from afield.errors import InputError

class Command:
    def help(self):
        print("helped", flush=True)

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
    """Start a helper with some of the commands above; its standard input stays open."""
    (tmp_path / "a_command.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(str(tmp_path))
    processes = []

    def start(*names):
        import a_command

        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes)
        processes.append(process)
        for name in names:
            send(process, getattr(a_command, name)())
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_helper_helps_with_each_command_and_ends_in_silence_with_one_that_is_bad(helper):
    process = helper("Command", "Command", "Bad")
    assert process.wait(timeout=60) == 2
    assert process.stdout.read() == b"helped\nhelped\n"
    assert process.stderr.read() == b""


def test_a_helper_ends_when_who_asked_for_it_is_gone(helper):
    process = helper("Endless")
    assert process.stdout.readline() == b"begun\n"
    process.stdin.close()
    assert process.wait(timeout=60) == 1
