"""Worker processes that execute runs of the same command in parallel."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Protocol

from afield.errors import InputError
from afield.launch.allocator import keep_freed_memory

PROGRAM = "import afield.launch.local; from afield.launch.workers import serve; serve()"
"""The program of a worker. The first import takes seconds, in which the command prepares its runs."""


class Helpable(Protocol):
    """A command whose runs can be shared with workers. It is sent to them with pickle."""

    def help(self) -> None:
        """Execute all runs that no other process is executing, then return."""


@contextmanager
def workers(count: int) -> Iterator[Callable[[Helpable], None]]:
    """Run `count` workers during a ``with`` block. They end when this process ends, even if it is killed.

    Yields:
        A function that lets all workers help with a command. It can be called several times.
    """
    processes = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROGRAM], stdin=subprocess.PIPE) for _ in range(count)
    ]

    def call(command: Helpable) -> None:
        for process in processes:
            with suppress(BrokenPipeError):  # a worker that was killed does not help
                send(process, command)

    try:
        yield call
    finally:
        for process in processes:
            process.kill()
            process.wait()


def send(worker: subprocess.Popen[bytes], command: Helpable) -> None:
    """Send a command to the standard input of a worker."""
    assert worker.stdin is not None
    with Connection(os.dup(worker.stdin.fileno()), readable=False) as connection:
        connection.send(command)


def serve() -> None:
    """Help with the commands from standard input, one after another, until it is closed.

    The worker does not report input errors, because the process that started it finds the same errors.
    """
    keep_freed_memory()
    commands = SimpleQueue[Helpable]()
    threading.Thread(target=_receive, args=(commands,), daemon=True).start()
    try:
        while True:
            commands.get().help()
    except InputError:
        sys.exit(2)


def _receive(commands: SimpleQueue[Helpable]) -> None:
    with suppress(EOFError), Connection(os.dup(sys.stdin.fileno()), writable=False) as connection:
        while True:
            commands.put(connection.recv())
    os._exit(1)
