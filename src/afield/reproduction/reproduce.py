"""Work through a paper's tasks, and write what is there: records, summary, figures, page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afield.records import HeldError, exclusive, read_record, write_json, write_record, write_records
from afield.reproduction.deadline import OutOfTimeError
from afield.reproduction.forecast import forecast
from afield.reproduction.paper import Paper, document
from afield.reproduction.tasks import Desk, Task

RECORDS, SUMMARY, LINE = "records.jsonl", "summary.json", "line.json"
WAIT = 0.2
"""Seconds between looks at tasks that other processes are at."""


@dataclass(frozen=True)
class Outcome:
    """How far it came: chosen tasks and how many are done, the forecast in seconds for what is left, and the page."""

    tasks: int
    done: int
    seconds_left: float
    page: Path


def reproduce(
    paper: Paper,
    tasks: Sequence[Task],
    chosen: Sequence[Task],
    *,
    out: Path,
    about: dict[str, Any],
    desk: Desk,
    crew: AbstractContextManager[None],
    announce: Callable[[int, float], None] = lambda runs, seconds: None,
) -> Outcome:
    """Do what is not done yet; whatever ends it, records and page are written of what is.

    Args:
        paper: whose tasks these are.
        tasks: all there are; those that are done stand on the page.
        chosen: the tasks to do, in the order in which they are begun.
        out: held by the caller.
        about: ``size`` and ``command``, for the page.
        desk: its watcher may end the work (`afield.reproduction.deadline.Deadline`).
        crew: works on the same tasks as long as it is entered.
        announce: told how many runs there are to do, and the forecast of their seconds.
    """
    left = unfinished(chosen, out)
    seconds = forecast(left, desk)
    try:
        if left:
            announce(len(left), sum(seconds.values()))
        with crew if left else nullcontext():
            while left:
                before, left = len(left), work_through(left, out, desk)
                if len(left) == before:
                    time.sleep(WAIT)
    except OutOfTimeError:
        pass
    finally:
        lines = [read_record(_line(out, task)) for task in tasks if _line(out, task).exists()]
        about = {**about, "paper": paper.name, "tasks": len(tasks), "done": len(lines)}
        write_records(out / RECORDS, lines)
        write_json(out / SUMMARY, about)
        page = document(paper, lines, about).write(out)
    left = unfinished(chosen, out)
    return Outcome(len(chosen), len(chosen) - len(left), sum(seconds[task.hash] for task in left), page)


def work_through(tasks: Sequence[Task], out: Path, desk: Desk) -> list[Task]:
    """Do, one after the other, what nobody else is at; returns what others are at."""
    left = []
    for index, task in enumerate(tasks):
        desk.callback.run(index, len(tasks), task)
        if _line(out, task).exists():
            continue
        try:
            with exclusive(_line(out, task).parent):
                if not _line(out, task).exists():
                    write_record(_line(out, task), task.work(_line(out, task).parent, desk))
        except HeldError:
            left.append(task)
    return left


def unfinished(tasks: Sequence[Task], out: Path) -> list[Task]:
    """What is still to do."""
    return [task for task in tasks if not _line(out, task).exists()]


def _line(out: Path, task: Task) -> Path:
    return out / "runs" / task.hash / LINE
