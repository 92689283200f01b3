"""Random attacks on what comes from outside: each is answered or refused, without a traceback and without NaN.

`python -m tests.fuzz.attacks --count 2000` makes 2,000 attacks of each kind and prints how many were made and how many
were answered cleanly, with the number of each that was not; `--only KIND --seed NUMBER --count 1` repeats one of these.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import afield
from afield.cli import main
from afield.commands import Report
from afield.data import load
from afield.data.cache import cache_root
from afield.data.decode import FORMATS, BadImageError, decode
from afield.errors import InputError
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.objective import Objective
from afield.records import read_records

RESULTS = Path(__file__).parents[2] / "results" / "pacs-frozen"
JUNK: tuple[Any, ...] = (None, {}, [], "", "\0", "[/]", -1, 0, 1e308, 2**63, 10**30, True, "x" * 500, [[[]]], {"a": {}})
WORDS = (
    *("predict", "evaluate", "export", "report", "list", "augment", "show", "--json", "--help", "--data", "--out"),
    *("--tta", "mirror", "--layout", "--image-size", "--recipes", "erm", "--set", "a=b", "=", "head_options.x=NaN"),
    *(
        "-1",
        "0",
        "1e99",
        "nan",
        "\u202e",
        "[red]",
        "../..",
        "/proc/1/mem",
        "x" * 300,
        "--seeds",
        "--memory",
        "--epochs",
    ),
    *(
        "--splits",
        "--backbone",
        "hf-hub:a/b",
        "resnet18",
        "--stem",
        "small",
        "--weights",
        "/etc/passwd",
        "hf:nothing/x",
    ),
)


class Attacks:
    """A folder with a model, images and results to attack; each method makes one attack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = np.random.default_rng(0)
        for name in ("cat", "dog"):
            (folder / "photos" / name).mkdir(parents=True)
            for i in range(6):
                pixels = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
        self.images = np.array(load(str(folder / "photos"), image_size=12).images)
        self.encoded = [_encoded(kind, mode) for kind in FORMATS for mode in ("RGB", "L")]
        with contextlib.redirect_stderr(io.StringIO()):
            afield.train(data=str(folder / "photos"), image_size=12, epochs=1, recipe="arcface", out=folder / "model")

    def image(self, draw: random.Random) -> None:
        """A mutated image file of any format is decoded or bad."""
        with contextlib.suppress(BadImageError):
            found = decode(_mutated(draw.choice(self.encoded), draw))
            assert found.mode == "RGB"

    def model(self, draw: random.Random) -> None:
        """An altered model folder is refused or predicts numbers."""
        with self._copy("model") as folder, contextlib.suppress(InputError):
            _alter(folder / draw.choice(["model.json", "model.safetensors"]), draw)
            (found,) = afield.load(folder).predict(self.images[0])
            assert np.isfinite(list(found.probabilities.values())).all()

    def run(self, draw: random.Random) -> None:
        """An altered folder of results is refused or has its page."""
        with self._copy(RESULTS) as folder, contextlib.suppress(InputError):
            _alter(folder / draw.choice(["records.jsonl", "summary.json", "analysis.json"]), draw)
            read_records(folder)
            assert Report(folder).run().exists()

    def cache(self, draw: random.Random) -> None:
        """An altered file of the image cache does not change the images."""
        load(str(self.folder / "photos"), image_size=12)
        files = sorted(path for path in cache_root().rglob("*") if path.suffix in (".npy", ".json"))
        file = draw.choice(files)
        file.write_bytes(_mutated(file.read_bytes(), draw))
        assert np.array_equal(load(str(self.folder / "photos"), image_size=12).images, self.images)

    def command(self, draw: random.Random) -> None:
        """A random command line ends with exit code 0 or 2."""
        words = draw.choices((*WORDS, str(self.folder / "model"), str(self.folder / "photos")), k=draw.randint(0, 7))
        if draw.random() < 0.5:
            words = ["compare", "--dry-run", *words]
        quiet, code = io.StringIO(), 0
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), contextlib.chdir(self.folder):
            try:
                main(words)
            except SystemExit as end:
                code = int(end.code or 0)
        assert code in (0, 2), (code, words)

    def tensor(self, draw: random.Random) -> None:
        """Odd shapes and types into heads, losses and objectives are a `ValueError`, or give numbers."""
        torch.manual_seed(draw.getrandbits(32))
        classes, width, rows = draw.choice([1, 2, 3, 10]), draw.choice([1, 4]), draw.choice([0, 1, 2, 5])
        dtype = draw.choice([torch.float32] * 4 + [torch.float64, torch.bfloat16, torch.int64, torch.bool])
        shape = draw.choice([(rows, width)] * 6 + [(rows,), (rows, width, 1), (rows, width + 1)])
        features = (draw.choice([0.0, 1e-6, 1.0, 1e4]) * torch.randn(shape)).to(dtype)
        targets: torch.Tensor = torch.randint(
            -1 if draw.random() < 0.1 else 0, classes + (draw.random() < 0.1), (rows,)
        )
        match draw.randrange(8):
            case 0:
                targets = torch.rand(rows, classes).softmax(dim=1)
            case 1:
                targets = draw.choice([targets.float(), targets[:, None], targets.int(), targets[1:], targets.bool()])
            case 2:
                targets = torch.nn.functional.one_hot(targets.clamp(0, classes - 1), classes).float()
        name, loss = draw.choice(HEADS.names), draw.choice(LOSSES.names)
        if draw.random() < 0.3:
            logits = features.clone()
            if logits.is_floating_point() and logits.ndim == 2 and rows and width > 1:
                logits[0, -1] = -torch.inf  # a masked class
            with contextlib.suppress(ValueError):
                value = LOSSES[loss](logits, targets)
                assert not value.isnan().any(), (loss, logits, targets)
            return
        with contextlib.suppress(ValueError):
            objective = Objective(HEADS[name](width, classes), {"cross_entropy": 1.0, loss: 0.5})
            value = objective(features.requires_grad_(features.is_floating_point()), targets)
            assert value.isfinite(), (name, loss, features, targets)
            value.backward()
            assert all(p.grad is None or p.grad.to_dense().isfinite().all() for p in objective.parameters())

    @contextlib.contextmanager
    def _copy(self, source: str | Path) -> Any:
        folder = self.folder / "copy"
        shutil.copytree(self.folder / source, folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


KINDS: dict[str, Callable[[Attacks, random.Random], None]] = {
    name: getattr(Attacks, name) for name in ("image", "model", "run", "cache", "command", "tensor")
}


def attacked(attacks: Attacks, kind: str, seeds: range) -> dict[int, str]:
    """The traceback of each attack that was not answered cleanly, by its seed."""
    unclean = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in seeds:
            try:
                KINDS[kind](attacks, random.Random(f"{kind} {seed}"))
            except BaseException:
                unclean[seed] = traceback.format_exc()
    return unclean


def _encoded(kind: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def _mutated(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 10])):
        place = draw.randrange(len(changed) or 1)
        match draw.randrange(4):
            case 0 if changed:
                changed[place] ^= 1 << draw.randrange(8)
            case 1 if changed:
                changed[place] = draw.choice([0, 255, 127])
            case 2:
                del changed[place : place + draw.choice([1, 50, 10**6])]
            case _:
                changed[place:place] = draw.randbytes(draw.choice([1, 20]))
    return bytes(changed)


def _alter(file: Path, draw: random.Random) -> None:
    """Change bytes of a file, or a value of its JSON."""
    if file.suffix == ".safetensors" or draw.random() < 0.3:
        file.write_bytes(_mutated(file.read_bytes(), draw))
        return
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    index = draw.randrange(len(lines))
    value = {"": json.loads(lines[index])}
    _replace(value, draw)
    lines[index] = json.dumps(value[""])
    file.write_text("\n".join(lines))


def _replace(value: Any, draw: random.Random) -> None:
    """Change one value somewhere below, or take it away."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(list(keys))
        below = value[key]
        if not (isinstance(below, dict | list) and below) or draw.random() < 0.15:
            break
        value = below
    if draw.random() < 0.2 and "" not in value:
        del value[key]
    else:
        value[key] = draw.choice(JUNK)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="attacks of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first attack")
    parser.add_argument("--only", choices=KINDS, help="one kind alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AFIELD_CACHE"] = f"{folder}/cache"
        attacks = Attacks(Path(folder))
        for kind in [options.only] if options.only else KINDS:
            unclean = attacked(attacks, kind, range(options.seed, options.seed + options.count))
            print(
                f"{kind:8} {options.count:6} tried  {options.count - len(unclean):6} clean  {list(unclean)}", flush=True
            )
            for text in list(unclean.values())[: 3 if options.only else 0]:
                print(text)


if __name__ == "__main__":
    _main()
