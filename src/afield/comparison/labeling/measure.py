"""The repetitions of a comparison of strategies: which are left, how long they take, and their execution."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from afield.comparison.labeling.study import LabelingStudy, Repetition, label_of
from afield.errors import InputError
from afield.launch.local import cpu_threads
from afield.records import decode, read_json, read_jsonl, run_hash, write_json, write_jsonl
from afield.runs.callback import SILENT, Callback

RECORDS, IMAGES = "records.jsonl", "images.json"
SAVE_SECONDS = 5.0
"""Time between two writes of the records."""


@dataclass(frozen=True)
class Job:
    """A repetition to execute: its strategy, the index of the new place, and its number."""

    study: LabelingStudy
    strategy: str
    domain: int
    repetition: int

    @property
    def key(self) -> tuple[Any, ...]:
        """The key of its record."""
        return self.study.key(self.strategy, self.domain, self.repetition)

    def execute(self) -> Repetition:
        """Execute the repetition on one thread, so that its result is the same in every process."""
        with cpu_threads(1):
            return self.study.repeat(self.strategy, self.domain, self.repetition)


def jobs(study: LabelingStudy, strategies: Sequence[str], repetitions: int) -> list[Job]:
    """All repetitions, ordered by number, so that intermediate results are balanced."""
    places = range(len(study.domain_names))
    return [Job(study, name, place, i) for i in range(repetitions) for place in places for name in strategies]


def finished(out: Path) -> dict[tuple[Any, ...], Repetition]:
    """The records of a folder, by key.

    Raises:
        InputError: if the file contains other records or is damaged.
    """
    file = out / RECORDS
    lines = read_jsonl(file) if file.exists() else []
    found = [decode(Repetition, line, f"{file}, line {number}:") for number, line in enumerate(lines, start=1)]
    return {record.key: record for record in found}


def measure(wanted: Sequence[Job], out: Path, *, processes: int = 1, callback: Callback = SILENT) -> list[Repetition]:
    """Execute the repetitions that are not finished, and return the records of all.

    Records are written every few seconds, so that an interrupted comparison can be resumed.

    Args:
        wanted: repetitions.
        out: folder of ``records.jsonl``. The caller must have locked it (`afield.records.exclusive`).
        processes: number of processes.
        callback: receives the progress.
    """
    done = finished(out)
    left = [job for job in wanted if job.key not in done]
    saved = time.monotonic()
    results = Parallel(processes, return_as="generator_unordered")(delayed(Job.execute)(job) for job in left)
    try:
        for count, record in enumerate(results, start=len(wanted) - len(left) + 1):
            done[record.key] = record
            callback.run(count, len(wanted), record)
            if time.monotonic() > saved + SAVE_SECONDS:
                _write(out, done)
                saved = time.monotonic()
    finally:
        if left:
            _write(out, done)
    return [done[job.key] for job in wanted]


def check_images(out: Path, images: dict[str, Any]) -> None:
    """Raise `InputError` if the folder has records of other images or of another backbone."""
    if (out / IMAGES).exists() and read_json(out / IMAGES) != images:
        raise InputError(f"{out} has records of other images or of another backbone; choose another --out")


def claim(out: Path, images: dict[str, Any]) -> None:
    """Write the images and the backbone of the records to the folder, after `check_images`."""
    check_images(out, images)
    write_json(out / IMAGES, images)


def plan(wanted: Sequence[Job], out: Path, *, at_once: int, features_s: float) -> dict[str, Any]:
    """The state of each repetition, and an estimate of the remaining time; see `afield.comparison.estimate.plan`.

    A strategy is assumed to take the median time of its finished repetitions or, if there are none, the time of one
    repetition.
    """
    done = finished(out)
    left = [job for job in wanted if job.key not in done]
    seconds = {job.strategy: [r.seconds for r in done.values() if r.strategy == job.strategy] for job in left}
    tried = [name for name, found in seconds.items() if not found]
    for name in tried:
        seconds[name] = [next(job for job in left if job.strategy == name).execute().seconds]
    run_s = statistics.mean(statistics.median(seconds[job.strategy]) for job in left) if left else 0.0
    source = f"one repetition of {', '.join(tried)}" if tried else "finished repetitions"
    return {
        "runs": [
            {"run": run_hash({"key": key}), "label": label_of(key), "state": "done" if key in done else "to do"}
            for key in (job.key for job in wanted)
        ],
        "source": source if left else "everything is done",
        "at_once": at_once,
        "features_s": features_s,
        "run_s": run_s,
        "later": 0,
        "total_s": features_s + run_s * -(-len(left) // at_once),
    }


def _write(out: Path, done: dict[tuple[Any, ...], Repetition]) -> None:
    write_jsonl(out / RECORDS, [asdict(done[key]) for key in sorted(done)])
