"""The reproduction of a paper: execution of its runs, then records, summary, figures and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afield.comparison.compare import RECORDS, SUMMARY
from afield.comparison.estimate import plan
from afield.launch.local import Executor, Launch
from afield.records import write_json, write_records
from afield.reproduction.deadline import OutOfTimeError
from afield.reproduction.paper import Paper, document
from afield.reproduction.study import Study, earlier_records
from afield.runs.execute import DONE
from afield.runs.run import Run


@dataclass(frozen=True)
class Outcome:
    """The state of a reproduction.

    Attributes:
        runs: number of selected runs.
        done: number of finished runs among them.
        seconds_left: estimated time of the other runs in seconds, one after the other.
        page: path of the page.
    """

    runs: int
    done: int
    seconds_left: float
    page: Path


def reproduce(
    paper: Paper,
    studies: Sequence[Study],
    chosen: Sequence[Run],
    executor: Executor,
    launch: Launch,
    *,
    about: dict[str, Any],
) -> Outcome:
    """Execute the unfinished runs, and write records and page of all finished runs, even if a run fails.

    Args:
        paper: paper.
        studies: all studies of the paper. The page contains their finished runs, including those of an earlier call
            whose records are in the folder.
        chosen: runs to execute.
        executor: executor of the runs. The caller must have locked its folder; its callback can stop the work
            (`Deadline`).
        launch: executes the runs.
        about: ``size`` and ``command``, for the page.
    """
    out, left = executor.out, _unfinished(chosen, executor)
    earlier = earlier_records(out)
    run_s = plan(left, executor, at_once=1)["run_s"]
    try:
        if left:
            executor.callback.forecast(len(left), run_s * len(left))
            for _ in launch(left):
                pass
    except OutOfTimeError:
        pass
    finally:
        records = [record for study in studies for record in study.records(executor, earlier)]
        total = sum(len(study.runs()) for study in studies)
        about = {**about, "paper": paper.name, "tasks": total, "done": len(records)}
        write_records(out / RECORDS, records)
        write_json(out / SUMMARY, about)
        page = document(paper, records, about).write(out)
    left = _unfinished(chosen, executor)
    return Outcome(len(chosen), len(chosen) - len(left), run_s * len(left), page)


def _unfinished(runs: Sequence[Run], executor: Executor) -> list[Run]:
    return [run for run in runs if not (executor.folder(run) / DONE).exists()]
