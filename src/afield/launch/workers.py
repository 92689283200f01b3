"""Worker processes that execute runs of the same command, each a run that no other process holds."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from afield.errors import InputError

PROGRAM = "from afield.launch.workers import serve; serve()"


class Helpable(Protocol):
    """A command whose work can be shared; it is sent to the workers by pickle."""

    def help(self) -> None:
        """Execute the runs that no other process is executing, then return."""


@contextmanager
def workers(command: Helpable, count: int) -> Iterator[None]:
    """`count` workers for as long as the block runs; they end with this process, however it ends."""
    processes = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROGRAM], stdin=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(pickle.dumps(command))
            process.stdin.flush()
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def serve() -> None:
    """The program of a worker: run the command that arrives on standard input, until that is closed.

    The process that started the worker reports errors of the input, because it reaches the same run.
    """
    command: Helpable = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    try:
        command.help()
    except InputError:
        sys.exit(2)


def _end_with_the_pipe() -> None:
    os.read(sys.stdin.fileno(), 1)  # a buffered read would hold a lock that the end of the interpreter needs
    os._exit(1)
