"""Commands in forked processes, which can be killed at or shortly after a file operation."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from tests import forks

OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
"""Audited events that are file operations. Their first argument is a path."""


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        code: exit code; -9 if the process was killed.
        operations: number of file operations on the watched files; 0 if the process was killed.
        said: standard output and standard error.
    """

    code: int
    operations: int
    said: str

    @property
    def killed(self) -> bool:
        """Whether the process was killed."""
        return self.code == -signal.SIGKILL


def command(folder: Path, *arguments: object, watched: str = "", at: int = 0, delay: float = 0.0) -> End:
    """Run ``afield`` in a forked process.

    Args:
        folder: folder that the command writes to. Its cache is in the folder, too.
        arguments: arguments of the command.
        watched: regular expression for the watched files, at the start of their path from the folder. With it, the
            command writes a checkpoint at every opportunity.
        at: number of the operation on a watched file, from 1, at which the process is killed; 0 does not kill it.
        delay: seconds from the operation to the kill; 0 kills the process before the operation takes place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = forks.start(_run, folder, [str(each) for each in arguments], watched, at, delay)
    process.join()
    assert process.exitcode is not None
    count = folder / "operations"
    operations = int(count.read_text()) if count.exists() else 0
    count.unlink(missing_ok=True)
    return End(process.exitcode, operations, (folder / "said").read_text())


def _run(folder: Path, arguments: list[str], watched: str, at: int, delay: float) -> None:
    from afield.augment.learned import loop as learned
    from afield.cli import main
    from afield.runs import features
    from afield.training import loop

    warnings.simplefilter("ignore")  # pytest makes errors of them, also in a forked process
    os.environ["AFIELD_CACHE"] = str(folder / "cache")
    if watched:
        loop.CHECKPOINT_SECONDS = learned.CHECKPOINT_SECONDS = -1.0
    features.BATCH, features.SAVE_EVERY = 8, 1
    said = open(folder / "said", "w")  # noqa: SIM115
    sys.stdout = sys.stderr = said
    pattern, count, root = re.compile(watched), 0, f"{folder}/"

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, values: tuple[object, ...]) -> None:
        nonlocal count
        if event not in OPERATIONS or not str(values[0]).startswith(root):
            return
        if pattern.match(str(values[0])[len(root) :]):
            count += 1
            if count == at:
                threading.Timer(delay, kill).start() if delay else kill()

    sys.addaudithook(hook)
    try:
        main(arguments)
    finally:
        said.flush()
        done, pattern = count, re.compile("$.")
        (folder / "operations").write_text(str(done))
