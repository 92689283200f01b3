"""A script for Slurm: a job array whose tasks take shares of the runs, and the command that makes the summary."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from afield.records import write_atomic

SCRIPT = "slurm.sh"

MAX_TASKS = 1000
"""Slurm's usual limit to an array, less one (`MaxArraySize`); with more runs a task takes several."""

TEMPLATE = """\
#!/usr/bin/env bash
#SBATCH --job-name=afield
#SBATCH --array=1-{tasks}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --output={log}
{gpu}
# {runs} runs. Submit from anywhere; what the site wants (partition, account, time) goes after sbatch:
#
#   job=$(sbatch --parsable {script})
#   sbatch --dependency=afterany:$job --wrap {final}
#
# Outside an array this script does the runs that are left, if any, and writes the summary.
set -euo pipefail
cd {folder}

command=({command})

if [ -n "${{SLURM_ARRAY_TASK_ID-}}" ]; then
    command+=(--share "$SLURM_ARRAY_TASK_ID/{tasks}")
fi
exec "${{command[@]}}"
"""


def write_script(command: Sequence[str], out: Path, *, runs: int, threads: int, gpu: bool) -> Path:
    """Write the script into the folder of the comparison, which all nodes see; nothing is submitted.

    Args:
        command: the comparison, as words; ``--share`` is added to it.
        out: the folder of the comparison.
        runs: how many there are.
        threads: of the CPU for each run.
        gpu: whether a run takes one.
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
