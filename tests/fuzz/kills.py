"""Commands killed at random instants: the same command then gives the same result.

`python -m tests.fuzz.kills --count 8` kills a command of each kind 8 times, each time in a new folder, and prints how
often it was killed and how often the same command then gave the result of an uninterrupted one. The instant is a random
operation on the files of the kind, or up to 20 ms later. `--only KIND --seed NUMBER --count 1` repeats one of these.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from afield.cli import main
from afield.records import write_json
from afield.runs.provenance import provenance
from tests.killed import command

TRAIN = ("train", "--image-size", 12, "--epochs", 3, "--batch-size", 8, "--recipe", "erm")
LEARN = (
    *("augment", "learn", "--image-size", 12, "--epochs", 2, "--batch-size", 8),
    *("--set", "augment_options.epochs=1", "augment_options.epoch_steps=1"),
)
SEARCH = (
    *("augment", "search", "--image-size", 12, "--epochs", 1, "--folds", 2, "--searches", 1),
    *("--trials", 4, "--sub-policies", 1, "--top", 2, "--draws", 1),
)
MODEL = ("record.json", "model.json", "model.safetensors", "predictions.safetensors", "adaptation.safetensors")
TIMES = ("duration_s", "search_s", "seconds")


@dataclass(frozen=True)
class Kind:
    """A command, and the part of it that is killed.

    Attributes:
        arguments: arguments of the command, without data and output.
        watched: regular expression for the files of the part, as in `tests.killed.command`.
        results: files in ``out`` that are compared, but for times.
    """

    arguments: tuple[object, ...]
    watched: str
    results: tuple[str, ...]


KINDS = {
    "decode": Kind(TRAIN, "cache/images", MODEL),
    "features": Kind((*TRAIN, "--backbone", "resnet8_ibn", "--freeze"), "cache/features", MODEL),
    "training": Kind(TRAIN, "out/checkpoint", MODEL),
    "record": Kind((*TRAIN, "--backbone", "resnet8_ibn", "--freeze"), r"out/(?!checkpoint)", MODEL),
    "export": Kind(("export",), "out", ("model.onnx",)),
    "augment learn": Kind(LEARN, "out", (*MODEL, "augmentor.safetensors")),
    "search": Kind(SEARCH, "out", ("policy.json",)),
}


class Kills:
    """Data and a model in a folder, and the results of uninterrupted commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = np.random.default_rng(0)
        for number, name in enumerate(f"{domain}/{kind}" for domain in ("day", "night") for kind in ("cat", "dog")):
            (folder / "photos" / name).mkdir(parents=True)
            for i in range(12):
                pixels = draw.integers(0, 160, (12, 12, 3), dtype=np.uint8) + np.uint8(60 * (number % 2))
                Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
        self.whole: dict[str, tuple[int, dict[str, Any]]] = {}
        self._warm("training", "model")

    def kill(self, kind: str, seed: int) -> tuple[bool, bool]:
        """Kill a command and run it again: whether it was killed, and whether the result is the uninterrupted one."""
        if kind not in self.whole:
            self._warm(kind, kind)
            self.whole[kind] = self._finish(kind, self.folder / "whole" / kind.replace(" ", "-"))
        operations, expected = self.whole[kind]
        draw, folder = random.Random(f"{kind} {seed}"), self.folder / f"{kind.replace(' ', '-')}-{seed}"
        at, delay = draw.randint(1, operations), draw.choice([0.0, draw.uniform(0, 0.02)])
        end = command(folder, *self._arguments(kind, folder), watched=KINDS[kind].watched, at=at, delay=delay)
        assert end.killed or end.code == 0, end.said
        return end.killed, self._finish(kind, folder)[1] == expected

    def _warm(self, kind: str, name: str) -> None:
        """Run a command in this process, so that forked ones need not import anything."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            main([str(each) for each in self._arguments(kind, self.folder / "warm" / name)])

    def _arguments(self, kind: str, folder: Path) -> tuple[object, ...]:
        if kind == "export":
            return (
                *KINDS[kind].arguments,
                self.folder / "warm" / "model" / "out",
                "--out",
                folder / "out" / "model.onnx",
            )
        return (*KINDS[kind].arguments, "--data", self.folder / "photos", "--out", folder / "out")

    def _finish(self, kind: str, folder: Path) -> tuple[int, dict[str, Any]]:
        end = command(folder, *self._arguments(kind, folder), watched=KINDS[kind].watched)
        assert end.code == 0, end.said
        return end.operations, {name: _timeless(folder / "out" / name) for name in KINDS[kind].results}


def _timeless(file: Path) -> Any:
    """The content of a file; JSON without durations."""
    if file.suffix != ".json":
        return file.read_bytes()
    return json.loads(file.read_text(), object_pairs_hook=lambda pairs: dict(p for p in pairs if p[0] not in TIMES))


def counts(kills: Kills, kind: str, seeds: Iterable[int]) -> dict[str, int]:
    """The number of commands that were killed, and that gave the same result when run again."""
    ends = [kills.kill(kind, seed) for seed in seeds]
    return {"tried": len(ends), "killed": sum(killed for killed, _ in ends), "same": sum(same for _, same in ends)}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first kill")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=[*KINDS], help="some kinds alone")
    parser.add_argument("--out", type=Path, help="JSON file for the counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AFIELD_CACHE"] = f"{folder}/cache"
        kills, found = Kills(Path(folder)), {}
        for kind in options.only:
            found[kind] = counts(kills, kind, range(options.seed, options.seed + options.count))
            print(f"{kind:14}", *(f"{number:4} {name}" for name, number in found[kind].items()), flush=True)
    if options.out:
        write_json(options.out, {"seed": options.seed, "kinds": found, **provenance()})


if __name__ == "__main__":
    _main()
