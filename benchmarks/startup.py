"""Time until a command can start its work, relative to another checkout.

    python benchmarks/startup.py [--former SRC] [--quick] [--out FILE]

Each process is started several times. The checkouts take turns; values are medians of CPU and wall seconds. `help` is
`afield --help`. `compare` imports what a process of `afield compare` needs before its first run, and says which large
libraries it imported. PyTorch alone is the lower end. SRC is the folder `src` of another checkout. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from afield.records import write_json
from afield.runs.provenance import provenance

LIBRARIES = ("timm", "torchvision", "torchmetrics", "transformers", "sklearn", "pandas", "scipy.stats", "matplotlib")
IMPORTS = "import afield.comparison.compare, afield.launch.local, afield.console"
PROCESSES = {"torch": ("-c", "import torch"), "help": ("-m", "afield", "--help"), "compare": ("-c", IMPORTS)}


def started(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of a Python process."""
    before, began = os.times(), time.monotonic()
    command = [sys.executable, "-W", "ignore", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | environment)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.monotonic() - began


def imported(environment: dict[str, str]) -> list[str]:
    """The large libraries that a process of a comparison imports."""
    program = f"{IMPORTS}; import sys; print(*[name for name in {LIBRARIES} if name in sys.modules])"
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | environment
    ).stdout.split()


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--former", type=Path, help="the folder src of another checkout")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    checkouts = {"ours": {}} if args.former is None else {"former": {"PYTHONPATH": str(args.former)}, "ours": {}}
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(1 if args.quick else 3):
        for process, arguments in PROCESSES.items():
            for name, environment in checkouts.items():
                times.setdefault((process, name), []).append(started(arguments, environment))
    result: dict[str, Any] = {"benchmark": "startup"}
    print(f"{'process':12}{'checkout':12}{'CPU, s':>8}{'wall, s':>9}")
    for (process, name), found in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*found, strict=True))
        result.setdefault(process, {})[name] = {"cpu_s": cpu, "wall_s": wall}
        print(f"{process:12}{name:12}{cpu:>8.2f}{wall:>9.2f}")
    result["imported"] = {name: imported(environment) for name, environment in checkouts.items()}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
