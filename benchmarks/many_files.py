"""Time, memory and bytes read to load a folder of many image files, at the first and at the second start.

    python benchmarks/many_files.py [--quick] [--out FILE]

Folders of 1,000, 10,000 and 100,000 tiny PNG files in 10 domains and 10 classes are loaded with `afield.data.load`,
each time in a new process. The first start lists, hashes and decodes all files. The second start must only list them
and compare their sizes and times. ``cpu_s`` is the CPU time of `load` (without imports), in all threads, ``peak_MB``
the largest resident memory of the process, and ``read_MB`` the bytes that it read from files, including those that the
system had in memory. Lines are fitted by least squares to the relative errors. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scaling import line

from afield.records import write_json
from afield.runs.provenance import provenance

SIZES, QUICK = (1000, 10_000, 100_000), (100, 200, 400)
SIDE, DOMAINS, CLASSES = 8, 10, 10
LOAD = """
import json, sys, time
from afield.data import load
def read():
    return next(int(row.split()[1]) for row in open("/proc/self/io") if row.startswith("rchar"))
bytes_before, began, wall = read(), time.process_time(), time.monotonic()
data = load(sys.argv[1], image_size=8)
cpu, wall = time.process_time() - began, time.monotonic() - wall
peak = next(int(row.split()[1]) for row in open("/proc/self/status") if row.startswith("VmHWM"))
found = {"cpu_s": cpu, "wall_s": wall, "peak_MB": peak * 1024 / 1e6, "read_MB": (read() - bytes_before) / 1e6}
print(json.dumps({"images": len(data), **found}))
"""
"""Loads a folder and prints what it cost."""


def write_files(folder: Path, count: int) -> None:
    """Write noise as PNG files, in domains and classes in turn."""
    rng = np.random.default_rng(0)
    parts = [folder / f"domain {i}" / f"class {j}" for i in range(DOMAINS) for j in range(CLASSES)]
    for part in parts:
        part.mkdir(parents=True)
    for number in range(count):
        image = Image.fromarray(rng.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8))
        image.save(parts[number % len(parts)] / f"{number:06}.png", compress_level=0)


def load(folder: Path, cache: Path) -> dict[str, float]:
    """The cost of loading a folder in a new process."""
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"AFIELD_CACHE": cache})
    return json.loads(done.stdout)


def main() -> None:
    """Measure, fit, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few files")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    sizes = QUICK if args.quick else SIZES
    found: dict[str, list[dict[str, float]]] = {"first start": [], "second start": []}
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder) / "files", count)
            for start in found.values():
                start.append(load(Path(folder) / "files", Path(folder) / "cache"))
                assert start[-1]["images"] == count
    fits: dict[str, Any] = {}
    print(f"{'':16}{'files':>9}{'CPU, s':>9}{'wall, s':>9}{'MB':>7}{'read, MB':>10}{'us a file':>11}{'worst':>8}")
    for name, rows in found.items():
        fits[name] = line(sizes, [row["cpu_s"] for row in rows]) | {key: [row[key] for row in rows] for key in rows[0]}
        last = rows[-1]
        print(
            f"{name:16}{sizes[-1]:>9,}{last['cpu_s']:>9.2f}{last['wall_s']:>9.2f}{last['peak_MB']:>7.0f}"
            f"{last['read_MB']:>10.1f}{1e6 * fits[name]['each_s']:>11.1f}{fits[name]['worst']:>8.0%}"
        )
    result = {"benchmark": "many_files", **fits}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
