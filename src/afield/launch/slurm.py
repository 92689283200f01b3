"""A Slurm script with a job array. Each task executes a share of the runs; a final job writes the summary."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from afield.records import write_atomic

SCRIPT = "slurm.sh"

MAX_TASKS = 1000
"""Largest number of tasks, Slurm's default `MaxArraySize` minus 1. With more runs, a task executes several."""

TEMPLATE = """\
#!/usr/bin/env bash
#SBATCH --job-name=afield
#SBATCH --array=1-{tasks}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --output={log}
{gpu}
# {runs} runs. Submit from any folder; add options of your site (partition, account, time) after sbatch:
#
#   job=$(sbatch --parsable {script})
#   sbatch --dependency=afterany:$job --wrap {final}
#
# Outside a job array, this script executes the remaining runs, if any, and writes the summary.
set -euo pipefail
cd {folder}

command=({command})

if [ -n "${{SLURM_ARRAY_TASK_ID-}}" ]; then
    command+=(--share "$SLURM_ARRAY_TASK_ID/{tasks}")
fi
exec "${{command[@]}}"
"""


def write_script(command: Sequence[str], out: Path, *, runs: int, threads: int, gpu: bool) -> Path:
    """Write the script to the folder of the comparison, which must be visible on all nodes. It is not submitted.

    Args:
        command: command of the comparison, as a list of arguments. The script adds ``--share``.
        out: folder of the comparison.
        runs: number of runs.
        threads: number of CPU threads for each run.
        gpu: whether a run needs a GPU.
    """
    script = out.absolute() / SCRIPT
    quoted = shlex.quote(str(script))
    text = TEMPLATE.format(
        tasks=min(runs, MAX_TASKS),
        threads=threads,
        log=shlex.quote(str(out.absolute() / "slurm-%A_%a.log")),
        gpu="#SBATCH --gres=gpu:1\n" if gpu else "",
        runs=runs,
        script=quoted,
        final=shlex.quote(f"bash {quoted}"),
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(command),
    )
    write_atomic(script, text)
    return script
