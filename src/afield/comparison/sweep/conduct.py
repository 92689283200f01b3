"""Execution of a sweep in stages. An interrupted sweep can be resumed."""

from afield.comparison.compare import RECORDS, earlier_records
from afield.comparison.sweep.page import render_sweep
from afield.comparison.sweep.protocol import Find, Sweep, advance
from afield.comparison.sweep.summary import SweepSummary, summarize_sweep, write_sweep
from afield.errors import InputError
from afield.launch.local import Executor, Launch
from afield.records import Record, read_record, write_records
from afield.runs.execute import DONE, RECORD
from afield.runs.run import Run


def finder(executor: Executor) -> Find:
    """A function that reads the records of finished runs from their folders, each once."""
    found: dict[str, Record] = {}

    def find(run: Run) -> Record | None:
        name, folder = run.hash, executor.folder(run)
        if name not in found and (folder / DONE).exists():
            try:
                found[name] = read_record(folder / RECORD)
            except InputError:  # the run is done again, with a warning
                return None
        return found.get(name)

    return find


def run_sweep(sweep: Sweep, executor: Executor, launch: Launch) -> SweepSummary:
    """Execute all unfinished runs of all stages, and write records, summary and report. Returns the summary.

    Args:
        sweep: sweep to run. The caller must have checked its runs with `afield.comparison.compare.check`.
        executor: executor of the runs. The caller must have locked its folder (`afield.records.exclusive`).
        launch: executes the runs of a stage.

    Raises:
        InputError: if an argument is not valid, the folder is not writable, or a run diverges.
    """
    find, out = finder(executor), executor.out
    state = advance(sweep, find)
    while left := [run for run in state.runs if find(run) is None]:
        for _ in launch(left):
            pass
        state = advance(sweep, find)
    records = [record for run in state.runs if (record := find(run)) is not None]
    summary = summarize_sweep(sweep, state, find)
    if executor.fabric(state.runs[0]).is_global_zero:
        write_records(out / RECORDS, [*records, *earlier_records(out / RECORDS, {record.run for record in records})])
        write_sweep(out, summary)
        render_sweep(out)
    return summary
