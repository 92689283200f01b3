"""How long the command line needs to start, and how large an installation without extras is.

    python benchmarks/installation.py [--quick] [--out FILE]

Each command runs in new processes, in turns, with compiled bytecode; its time is the median CPU time of the process,
and that of ``python -c pass`` is given beside it. The size is that of the files of afield's required packages, and of
all packages that those require, as they are installed here (`importlib.metadata`). NVIDIA's packages, Triton, and the
libraries of PyTorch for CUDA are left out: wheels of PyTorch for the CPU do not have them. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch

from afield.records import write_json
from afield.runs.provenance import provenance

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import afield": ("-c", "import afield"),
    "afield --help": ("-m", "afield", "--help"),
    "afield predict --help": ("-m", "afield", "predict", "--help"),
    "import torch": ("-c", "import torch"),
}
ROUNDS, QUICK_ROUNDS = 5, 1
CUDA_ONLY = re.compile(r"nvidia|triton|cuda|nvshmem|nvrtc")
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def cpu_s(words: tuple[str, ...], environment: dict[str, str]) -> float:
    """CPU seconds of a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_start(rounds: int) -> dict[str, float]:
    """The median CPU seconds of each command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as cache:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(rounds + 1):
            for name, words in COMMANDS.items():
                seconds = cpu_s(words, environment)
                if number:  # the first round compiles
                    times[name].append(seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def closure(names: list[str]) -> list[str]:
    """These packages and all that they require without extras, as installed."""
    found: dict[str, None] = {}
    while names:
        name = re.split(r"[\s\[<>=!~;(]", names.pop().strip())[0].lower().replace("_", "-")
        if name in found:
            continue
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:  # not required on this system
            continue
        found[name] = None
        names += [line for line in required if "extra ==" not in line]
    return sorted(found)


def size_of(name: str) -> int:
    """Bytes of the files of an installed package, without bytecode and libraries for CUDA."""
    files = [Path(str(file.locate())) for file in distribution(name).files or [] if "__pycache__" not in file.parts]
    kept = [file for file in files if not (".so" in file.name and CUDA_ONLY.search(file.name))]
    return sum(file.stat().st_size for file in kept if file.is_file())


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    seconds = measure_start(QUICK_ROUNDS if args.quick else ROUNDS)
    names = closure(list(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]))
    sizes = {name: size_of(name) for name in names if not CUDA_ONLY.search(name)}
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:8])
    result: dict[str, Any] = {
        "benchmark": "installation",
        "rounds": QUICK_ROUNDS if args.quick else ROUNDS,
        "cpu_s": seconds,
        "over_python": {name: value / seconds["python -c pass"] for name, value in seconds.items()},
        "bytes": sum(sizes.values()),
        "packages": len(sizes),
        "largest": largest,
        "left_out": [name for name in names if CUDA_ONLY.search(name)],
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
    }
    for name, value in seconds.items():
        print(f"{name:24}{1e3 * value:7.0f} ms CPU{value / seconds['python -c pass']:8.1f} x python")
    print(f"{sum(sizes.values()) / 1e6:,.0f} MB in {len(sizes)} packages, torch {torch.__version__}:")
    print(", ".join(f"{name} {size / 1e6:,.0f}" for name, size in largest.items()))
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
