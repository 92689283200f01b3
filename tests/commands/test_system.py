"""Faults of the system: a full disk, a signal; and arguments that a shell has lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from afield.console import say
from afield.records import write_atomic
from tests.command_line import refused

COMMAND = (sys.executable, "-m", "afield", "train", "--recipe", "erm", "--epochs", "500", "--out")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(tmp_path):
    """A limit on the size of files stands for a disk without space for the checkpoint, of which the first is due."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "import afield.training.loop as loop; loop.CHECKPOINT_SECONDS = 0\n"
        "from afield.cli import main; main(sys.argv[1:])"
    )
    arguments = (sys.executable, "-c", program, *COMMAND[3:], str(tmp_path / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("afield: ")]
    file = tmp_path / "out" / "checkpoint.safetensors"
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1
    assert f"afield: cannot read or write {file}: File too large" in lines[0]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_write_that_fails_names_the_file_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomic(tmp_path / "record.json", "{}")
    assert raised.value.filename == str(tmp_path / "record.json")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP is POSIX's")
def test_sigterm_and_sighup_end_a_command_as_an_interrupt_does(tmp_path):
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def listen() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP, also in processes that it starts

    started = [
        subprocess.Popen((*COMMAND, str(tmp_path / number.name)), stderr=subprocess.PIPE, text=True, preexec_fn=listen)
        for number in numbers
    ]
    for process, number in zip(started, numbers, strict=True):
        assert process.stderr is not None
        while "trains erm on all images" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(1)
        process.send_signal(number)
        assert process.stderr.read().splitlines()[-1] == "interrupted; the same command continues from here"
        assert process.wait() == 130
    assert not list(tmp_path.rglob("*.partial"))


def test_signals_are_handled_as_before_after_a_command_in_this_process(afield):
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}  # Ray leaves its own handler
    try:
        assert afield("list", "heads")[0] == 0
        assert afield("report", "nowhere")[0] == 2
        assert {signal.getsignal(number) for number in numbers} == {signal.SIG_DFL}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_paths_are_printed_as_they_are_written(capsys):
    say("report: runs/[red]x/[/b] y/\x1b[2J.html\nsecond line")
    assert capsys.readouterr().out == "report: runs/[red]x/[/b] y/\\x1b[2J.html\nsecond line\n"


@pytest.mark.parametrize("arguments", [("predict", "runs/x", ""), ("train", "--out", ""), ("compare", "--data=")])
def test_an_empty_argument_is_refused(afield, arguments):
    assert "an argument is empty; check that the variables of the shell are set" in refused(afield, *arguments)
