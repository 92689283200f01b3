"""Worker processes that execute runs of the same command in parallel."""

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
    """A command whose runs can be shared with workers. It is sent to them with pickle."""

    def help(self) -> None:
        """Execute all runs that no other process is executing, then return."""


@contextmanager
def workers(command: Helpable, count: int) -> Iterator[None]:
    """Run `count` workers during a ``with`` block. They end when this process ends, even if it is killed."""
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
    """The program of a worker: read a command from standard input and run it. It ends when standard input is closed.

    The worker does not report input errors, because the process that started it finds the same errors.
    """
    command: Helpable = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_exit_when_stdin_closes, daemon=True).start()
    try:
        command.help()
    except InputError:
        sys.exit(2)


def _exit_when_stdin_closes() -> None:
    os.read(sys.stdin.fileno(), 1)  # a buffered read would hold a lock that the interpreter needs at exit
    os._exit(1)
