"""Decoding and resizing of large JPEG files: at full size, at a reduced scale, and by other packages.

    python benchmarks/decode.py PHOTOS [--sizes 64 224] [--repeats 5] [--quick] [--out FILE]

PHOTOS is a folder of JPEG files. Every contestant makes squares of uint8 pixels from the bytes of the same files, with
one thread, and they take turns: `full` decodes all pixels; `ours` is `afield.data.decode.decode_square`, which lets
large files be decoded at a reduced scale; `simplejpeg` and `torchcodec`, if they are installed, decode all pixels and
have them resized as ours are. The figures are CPU milliseconds per file, as medians over the repeats, the ratio of
`full`, and the difference of the pixels from `full`. For 224 px, an ImageNet-trained EfficientNet-Lite0 shows what the
difference means: the relative difference of its features, the agreement of its classes, and the largest difference of
a probability. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from afield.data.decode import decode, decode_square, squash
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE, read_tensors, weights_file
from afield.pixels import to_batch
from afield.records import write_json
from afield.runs.provenance import provenance

Squares = Callable[[bytes, int], NDArray[np.uint8]]


def contestants() -> dict[str, Squares]:
    """The functions from the bytes of a file and a side to pixels; those of packages that are installed."""
    found: dict[str, Squares] = {"full": lambda content, side: squash(decode(content), side), "ours": decode_square}
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        found["simplejpeg"] = lambda content, side: squash(Image.fromarray(simplejpeg.decode_jpeg(content)), side)
    if importlib.util.find_spec("torchcodec"):
        from torchcodec.decoders import decode_image

        def by_torchcodec(content: bytes, side: int) -> NDArray[np.uint8]:
            pixels = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode="RGB")
            return squash(Image.fromarray(pixels.permute(1, 2, 0).numpy()), side)

        found["torchcodec"] = by_torchcodec
    return found


def measure(files: list[bytes], side: int, repeats: int) -> dict[str, dict[str, Any]]:
    """CPU time of each contestant, and the difference of its pixels from those of `full`."""
    functions = contestants()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    squares: dict[str, NDArray[np.uint8]] = {}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            made = [function(content, side) for content in files]
            seconds[name].append(time.process_time() - start)
            squares[name] = np.stack(made)
    rows = {}
    for name, found in seconds.items():
        difference = np.abs(squares[name].astype(int) - squares["full"])
        rows[name] = {
            "ms": 1000 * statistics.median(found) / len(files),
            "full_over_this": statistics.median(full / each for full, each in zip(seconds["full"], found, strict=True)),
            "mean_difference": float(difference.mean()),
            "largest_difference": int(difference.max()),
        }
    rows["ours"] |= effect(squares["full"], squares["ours"]) if side == 224 else {}
    return rows


@torch.inference_mode()
def effect(full: NDArray[np.uint8], ours: NDArray[np.uint8]) -> dict[str, Any]:
    """How the features and ImageNet classes of an EfficientNet-Lite0 differ between the two ways to decode."""
    network = timm.create_model(PACKAGE_BACKBONE).eval()
    tensors = read_tensors(weights_file(PACKAGE))
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    features = [
        network.forward_head(network.forward_features(_normalized(each)), pre_logits=True) for each in (full, ours)
    ]
    probabilities = [network.get_classifier()(each).softmax(dim=1) for each in features]
    first, second = (each.argmax(dim=1) for each in probabilities)
    return {
        "features_difference": float(((features[1] - features[0]).norm(dim=1) / features[0].norm(dim=1)).mean()),
        "same_class": int((first == second).sum()),
        "largest_probability_difference": float((probabilities[1] - probabilities[0]).abs().max()),
    }


def _normalized(images: NDArray[np.uint8]) -> torch.Tensor:
    return (to_batch(images) - 0.5) / 0.5


def main() -> None:
    """Measure, write the record, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(path for path in args.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        parser.error(f"{args.photos} contains no JPEG files")
    files = [path.read_bytes() for path in paths]
    pixels = [math.prod(decode(content).size) for content in files]
    record = {
        "files": len(files),
        "megapixels": {
            "median": statistics.median(pixels) / 1e6,
            "smallest": min(pixels) / 1e6,
            "largest": max(pixels) / 1e6,
        },
        "sizes": {str(side): measure(files, side, 1 if args.quick else args.repeats) for side in args.sizes},
        "repeats": 1 if args.quick else args.repeats,
        **provenance(),
    }
    if args.out:
        write_json(args.out, record)
    print(f"{'side':>5} {'contestant':12}{'ms':>8}{'ratio':>7}{'mean':>8}{'largest':>8}")
    for side, rows in record["sizes"].items():
        for name, row in rows.items():
            print(
                f"{side:>5} {name:12}{row['ms']:8.1f}{row['full_over_this']:7.2f}{row['mean_difference']:8.3f}"
                f"{row['largest_difference']:8}"
            )
    print(json.dumps({"benchmark": "decode", **{key: record[key] for key in ("files", "sizes")}}))


if __name__ == "__main__":
    main()
