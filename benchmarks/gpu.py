"""Everything that needs a large GPU, in one call of a few minutes, by priority.

    python benchmarks/gpu.py --data FOLDER --out results/gpu [--minutes 9] [--only PART ...] [--plan] [--smoke]

FOLDER contains ``pacs/``, ``cifar10.npz`` and ``cifar100.npz``. The parts, the first one first:

1. ``tests``: the tests marked for a GPU.
2. ``pacs``: recipes on PACS at 224 px, the whole network trained in bf16, four domains x three seeds.
3. ``margin``: tables 1 and 2 of paper C at full size.
4. ``cifar94``: seconds to 94 % on CIFAR-10, beside airbench94.
5. ``augmentation``: paper B at full size.
6. ``throughput``: training speed as a share of that of the network alone, also compiled and as a CUDA graph.

A part consists of units, such as a recipe of ``pacs``. `--plan` prints the estimated minutes of each unit, from the
number of images and the rates in `RATES`, which are guesses for one H100 or H200. A unit that does not fit in the time
that is left is passed over for later ones that do; time that remains goes to the first units that were passed over.
After `--minutes`, no run is started, and each part writes the records of its finished runs.

Records are written to ``OUT/CARD``, CARD being the name of the GPU, with the finished units in ``done.json``. The same
command continues with the others; interrupted runs continue from `--work`. On a new machine without this folder,
finished units are not repeated, and neither are runs of ``pacs`` with records in ``OUT/CARD``.

For a machine without a network, `--bundle FOLDER` writes data and packages in parts of at most 49 MB, and
`--unpack FOLDER` unpacks those that are there to `--data` (`gpu_bundle.py`). `--smoke` runs each part with tiny
networks on made images, also without a GPU; its numbers are not results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import gpu_bundle

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START_S, STOP_S = 25.0, 20.0
"""Estimated seconds until a part trains, and seconds to write records after the time limit."""
TIMED, LATE = ("pacs", "margin", "augmentation"), 3
"""Parts that stop by themselves at the time limit. The others are stopped after this multiple of their estimate."""
SMOKE_RECIPES, SMOKE_STUDY = ("erm", "flattening"), "plane"

RATES = {
    "EfficientNet-Lite0, 224 px": 5_000,
    "ResNet-18, 32 px": 80_000,
    "ResNet-18, 32 px, small stem": 25_000,
    "EfficientNet-B0, 32 px": 40_000,
    "EfficientNet-B0, 32 px, small stem": 10_000,
    "MobileNetV2, 32 px": 50_000,
    "MobileNetV2, 32 px, small stem": 12_000,
}
"""Assumed training images per second of one H100 or H200 in bf16, all processes together. Not measured."""
EVALUATION = 1 / 3
"""Assumed cost of an evaluated image, relative to a training image."""
PACS_IMAGES, CIFAR_IMAGES, CIFAR_TEST = 9_991, 50_000, 10_000


@dataclass(frozen=True)
class Unit:
    """What is planned and marked as done on its own: its part, its name, and estimated seconds of training."""

    part: str
    name: str
    seconds: float


def tests_units() -> list[Unit]:
    """All tests together."""
    return [Unit("tests", "all", 40)]


def pacs_units() -> list[Unit]:
    """The recipes, with their measured cost relative to ERM."""
    from gpu_pacs import FULL, RECIPES, SEEDS

    costs = json.loads((ROOT / "results/algorithms.json").read_text())["time_over_erm"]
    trained = 0.75 * 0.9 * PACS_IMAGES
    images = 4 * SEEDS * FULL.epochs * (trained + EVALUATION * (PACS_IMAGES / 4 + trained / 9))
    each = images / RATES["EfficientNet-Lite0, 224 px"]
    return [Unit("pacs", name, each * math.prod(costs.get(n, 1.0) for n in name.split("+"))) for name in RECIPES]


def margin_units() -> list[Unit]:
    """The studies of tables 1 and 2. Those with all margins of figure 2 have more recipes."""
    from afield.reproduction.margin.plan import NETWORKS, SETS, SIZES

    full, units = SIZES["full"], list[Unit]()
    names = {**NETWORKS, "efficientnet_b0": "EfficientNet-B0"}
    for network in full.networks:
        rate = RATES[f"{names[network.name]}, 32 px{', small stem' if network.stem == 'small' else ''}"]
        for name in SETS:
            recipes = 1 + len(full.margins) if network.key in full.swept and name == "cifar10" else 2
            images = recipes * full.seeds * network.epochs * (CIFAR_IMAGES + EVALUATION * CIFAR_TEST)
            units.append(Unit("margin", f"{name}/{network.key}", images / rate))
    return units


def cifar94_units() -> list[Unit]:
    """Five seeds of each, twice if the first number of epochs is too small."""
    return [Unit("cifar94", "all", 90)]


def augmentation_units() -> list[Unit]:
    """All arms: a shared first stage, learning the augmentation (`LEARNING` times the cost), and training with it."""
    from afield.comparison.estimate import LEARNING
    from afield.reproduction.augmentation.arms import LEARNED
    from afield.reproduction.augmentation.plan import SIGNS, SIZES

    full = SIZES["full"]
    first, learning, last = full.epochs
    learned = sum(name in LEARNED or name in SIGNS for name in full.arms)
    epochs = full.seeds * (first + len(full.arms) * last + learned * learning * LEARNING)
    return [Unit("augmentation", "all", epochs * CIFAR_IMAGES / RATES["ResNet-18, 32 px, small stem"])]


def throughput_units() -> list[Unit]:
    """Four networks; most of the time is that of the compiler."""
    return [Unit("throughput", "all", 150)]


@dataclass(frozen=True)
class Paths:
    """Where a part reads and writes, and how it runs."""

    data: Path
    work: Path
    card: Path
    device: str
    jobs: int
    smoke: bool

    def script(self, name: str, *words: object) -> list[str]:
        """The command of a benchmark of this folder."""
        quick = ["--quick"] if self.smoke else []
        return [sys.executable, str(HERE / name), *map(str, words), "--device", self.device, *quick]


Command = Callable[[Paths, Sequence[str], float], list[str]]
"""From paths, names of units and seconds to the command that executes the units."""


def tests(paths: Paths, units: Sequence[str], seconds: float) -> list[str]:
    """The files with tests for a GPU; the report goes to ``tests.xml``."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text()]
    files = [ROOT / "tests/test_gpu.py"] if paths.smoke else marked
    options = ["-p", "no:cacheprovider", "-m", "gpu", "-ra", f"--junitxml={paths.card / 'tests.xml'}"]
    return [sys.executable, "-m", "pytest", *options, *map(str, sorted(files))]


def pacs(paths: Paths, units: Sequence[str], seconds: float) -> list[str]:
    """See `gpu_pacs.py`."""
    folders = ("--data", paths.data, "--work", paths.work / "pacs", "--out", paths.card / "pacs")
    return paths.script("gpu_pacs.py", *folders, "--jobs", paths.jobs, "--seconds", seconds, "--recipes", *units)


def reproduction(paper: str, paths: Paths, units: Sequence[str], seconds: float) -> list[str]:
    """See `afield reproduce`. At smoke size, paper C has no tables 1 and 2; its smallest study takes their place."""
    only = [] if units == ["all"] else ["--only", *([SMOKE_STUDY] if paths.smoke else units)]
    options = ["--data", paths.data, "--out", paths.work / paper, "--device", paths.device, "--jobs", paths.jobs]
    size = ["--size", "smoke" if paths.smoke else "full", "--time-budget", f"{seconds:.0f}s"]
    return [sys.executable, "-W", "ignore", "-m", "afield", "reproduce", paper, *map(str, options), *size, *only]


def cifar94(paths: Paths, units: Sequence[str], seconds: float) -> list[str]:
    """See `cifar94.py`."""
    small = ("--backbone", "whitened_vgg_narrow", "--seeds", "2") if paths.smoke else ()
    return paths.script(
        "cifar94.py", "--data", paths.data / "cifar10.npz", "--out", paths.card / "cifar94.json", *small
    )


def throughput(paths: Paths, units: Sequence[str], seconds: float) -> list[str]:
    """See `throughput.py`."""
    return paths.script("throughput.py", "--out", paths.card / "throughput.json")


PARTS: dict[str, tuple[Callable[[], list[Unit]], Command]] = {
    "tests": (tests_units, tests),
    "pacs": (pacs_units, pacs),
    "margin": (margin_units, lambda *given: reproduction("margin", *given)),
    "cifar94": (cifar94_units, cifar94),
    "augmentation": (augmentation_units, lambda *given: reproduction("augmentation", *given)),
    "throughput": (throughput_units, throughput),
}
"""The units and the command of each part, by priority."""


def plan(parts: Sequence[str], smoke: bool) -> list[Unit]:
    """All units of the parts. At smoke size, a part takes about a second."""
    units = [unit for name in parts for unit in PARTS[name][0]()]
    if not smoke:
        return units
    first = {unit.part: Unit(unit.part, unit.name, 1) for unit in reversed(units)}
    recipes = [Unit("pacs", name, 1) for name in SMOKE_RECIPES]
    return [unit for part in parts for unit in (recipes if part == "pacs" else [first[part]])]


def fitting(units: Sequence[Unit], seconds: float) -> list[Unit]:
    """The units that fit in the time, the first ones first; those that do not fit are passed over."""
    chosen, parts = list[Unit](), set[str]()
    for unit in units:
        needed = unit.seconds + (0 if unit.part in parts else START_S)
        if needed <= seconds:
            chosen.append(unit)
            parts.add(unit.part)
            seconds -= needed
    return chosen


def key(unit: Unit, smoke: bool) -> str:
    """The name of a unit in ``done.json``: it changes with the files that define the part."""
    files = {"pacs": "gpu_pacs.py", "cifar94": "cifar94.py", "throughput": "throughput.py"}
    source = (HERE / files[unit.part]).read_bytes() if unit.part in files else b""
    return f"{unit.part}/{unit.name}/{hashlib.sha256(source + bytes([smoke])).hexdigest()[:12]}"


def execute(units: Sequence[Unit], paths: Paths, until: float) -> list[str]:
    """Execute units of one part; return the names of those that are finished."""
    part, names, seconds = units[0].part, [unit.name for unit in units], max(1.0, until - time.monotonic())
    if part not in TIMED and not paths.smoke:
        seconds = min(seconds, LATE * (START_S + units[0].seconds))
    print(f"\n{part}: {', '.join(names)} ({seconds:.0f} s left)", flush=True)
    log = paths.work / f"{part}.log"
    with open(log, "w") as file:
        command = PARTS[part][1](paths, names, seconds)
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(timeout=seconds + STOP_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(lines[-25:]), flush=True)
    collect(part, paths)
    return names if code == 0 else [name for name in reported(lines) if name in names]


def reported(lines: Sequence[str]) -> list[str]:
    """The finished units that a part prints as JSON in its last line, if it does."""
    try:
        found = json.loads(lines[-1]) if lines else {}
        return list(found["done"])
    except (ValueError, KeyError, TypeError):
        return []


def collect(part: str, paths: Paths) -> None:
    """Copy the records of a reproduction, beside earlier ones, and add the commit to records without one."""
    from afield.records import read_json, read_jsonl, write_json, write_jsonl

    commit = paths.data / "commit"
    signed = {"commit": commit.read_text().strip()} if commit.exists() else {}
    made, kept = paths.work / part / "records.jsonl", paths.card / f"{part}.jsonl"
    if made.exists() and part in ("margin", "augmentation"):
        rows = {row["run"]: row for file in (kept, made) if file.exists() for row in read_jsonl(file)}
        write_jsonl(kept, rows.values())
    for file in (kept, paths.card / "pacs/records.jsonl"):
        if signed and file.exists():
            write_jsonl(file, [row if row["commit"] else row | signed for row in read_jsonl(file)])
    single = paths.card / f"{part}.json"
    if signed and single.exists() and not read_json(single).get("commit"):
        write_json(single, read_json(single) | signed)


def card_name(smoke: bool) -> str:
    """The name of the GPU as the name of a folder."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()) + ("-smoke" if smoke else "")


def made_images(folder: Path) -> None:
    """Images for ``pacs`` and ``cifar94`` at smoke size: noise, in ``pacs`` with a brightness for each class."""
    import numpy as np
    from PIL import Image

    rng, arrays = np.random.default_rng(0), dict[str, Any]()
    for domain, label, number in product(("day", "night"), range(3), range(12)):
        file = folder / "pacs" / domain / f"class-{label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(60 * label, 60 * label + 120, (16, 16, 3), dtype=np.uint8)).save(file)
    for split, count in (("train", 32), ("test", 8)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(folder / "cifar10.npz", **arrays)


def show(units: Sequence[Unit], chosen: Sequence[Unit], minutes: float) -> None:
    """Print the plan."""
    print(f"{'part':14}{'unit':34}{'minutes':>9}")
    for part, of_part in groupby(units, lambda unit: unit.part):
        for unit in of_part:
            fits = "" if unit in chosen else "  does not fit"
            print(f"{part:14}{unit.name:34}{unit.seconds / 60:>9.1f}{fits}")
    total = sum(unit.seconds for unit in units) + START_S * len({unit.part for unit in units})
    fits = sum(unit.seconds for unit in chosen) + START_S * len({unit.part for unit in chosen})
    print(f"all: {total / 60:.0f} min with {START_S:.0f} s for the start of each part; chosen: {fits / 60:.1f} min")
    print(f"of {minutes:g} min. Assumed images/s of training on one H100 or H200, not measured:")
    print("; ".join(f"{name}: {rate:,}" for name, rate in RATES.items()))


def run(units: Sequence[Unit], paths: Paths, until: float) -> None:
    """Execute the units that fit, part by part, and then the others until the time is over."""
    from afield.records import read_json, write_json

    marks = paths.card / "done.json"
    done = read_json(marks) if marks.exists() else {}
    left = [unit for unit in units if key(unit, paths.smoke) not in done]
    print(f"{len(units) - len(left)} of {len(units)} units are done")
    chosen = fitting(left, until - time.monotonic())
    for turn in (chosen, [unit for unit in left if unit not in chosen]):
        for _, of_part in groupby(turn, lambda unit: unit.part):
            if time.monotonic() + START_S * (not paths.smoke) >= until:
                break
            began, same = time.monotonic(), list(of_part)
            finished = execute(same, paths, until)
            took = round((time.monotonic() - began) / len(same), 1)
            done |= {key(unit, paths.smoke): took for unit in same if unit.name in finished}
            write_json(marks, done)
    print(f"\n{sum(key(unit, paths.smoke) in done for unit in units)} of {len(units)} units are done: {paths.card}")


def main() -> None:
    """Plan, bundle, unpack or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AFIELD_DATA", "data")), help="data folder")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="folder for records")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu"), help="folder for runs, logs and the cache")
    parser.add_argument("--minutes", type=float, default=9, help="time limit")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--jobs", type=int, help="runs at a time on the GPU; by default half of the cores")
    parser.add_argument("--plan", action="store_true", help="print the plan, and stop")
    parser.add_argument("--smoke", "--quick", action="store_true", help="run each part at its smallest size")
    parser.add_argument("--bundle", type=Path, help="write data and packages to this folder, and stop")
    parser.add_argument("--unpack", type=Path, help="unpack such a folder to --data, and stop")
    parser.add_argument("--python", default="3.12", help="Python version of the machine that --bundle is for")
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes - STOP_S
    args.data, args.work, args.out = (path.resolve() for path in (args.data, args.work, args.out))
    if args.bundle:
        for path in gpu_bundle.bundle(args.bundle, args.data, args.python):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
        return
    if args.unpack:
        gpu_bundle.unpack(args.unpack, args.data)
        return
    found = [str(args.data / "site"), str(ROOT / "src")]
    sys.path[:0] = found
    os.environ["PYTHONPATH"] = os.pathsep.join([*found, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    os.environ |= {"OMP_NUM_THREADS": "1", "AFIELD_CACHE": str(args.work / "cache")}
    units = plan([name for name in PARTS if name in args.only], args.smoke)
    if args.plan:
        show(units, fitting(units, 60 * args.minutes - STOP_S), args.minutes)
        return
    if args.smoke:
        args.data = args.work / "made"
        made_images(args.data)
    jobs = args.jobs or max(1, (os.cpu_count() or 1) // 2)
    card = args.out / card_name(args.smoke)
    for folder in (args.work, card):
        folder.mkdir(parents=True, exist_ok=True)
    device = "auto" if args.smoke else "cuda"
    run(units, Paths(args.data, args.work, card, device, jobs, args.smoke), until)


if __name__ == "__main__":
    main()
