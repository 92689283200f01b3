"""Requests a second of `afield serve`, relative to a bare ONNX Runtime session; its memory; its answers to bad input.

    python benchmarks/serving.py [--quick] [--out FILE]

Speed: EfficientNet-Lite0 with images of 224 px and one thread of ONNX Runtime. Clients on the same machine send one
JPEG photo of 640 x 427 pixels in each request, over connections that stay open. The bare session classifies ready
floats, one image at a time, and nothing else; ``decoded`` also decodes and resizes the JPEG. They take turns; a ratio
is the median of the ratios of all rounds, with the smallest and the largest. Wall time includes the clients, which
share the cores; CPU time is that of the process of the server, or of the loop.

Memory: resident memory of a server of ResNet-8 with images of 32 px, after requests of one small PNG each.

Bad input: files that are no images, damaged, too large, or forms that are damaged. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from afield.classifier import Classifier
from afield.data.decode import decode, squash
from afield.deploy.model import Model
from afield.deploy.onnx_graph import make_graph, onnx_probabilities
from afield.deploy.outputs import Outputs
from afield.deploy.saved_model import load, save
from afield.models import BackboneConfig, build_backbone
from afield.pixels import to_batch
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.build import build_objective
from afield.runs.provenance import provenance

CLIENTS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def saved_model(folder: Path, backbone: str, size: int) -> Path:
    """A model with random weights: its speed is that of trained ones."""
    torch.manual_seed(0)
    config, names = BackboneConfig(backbone), tuple(f"class {number}" for number in range(10))
    network, features = build_backbone(config)
    objective = build_objective(RECIPES["erm"], features, len(names))
    classifier = Classifier(network, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    save(folder, Model(classifier.eval(), names, size, {}), config, RECIPES["erm"])
    return folder


class Server:
    """`afield serve` in a process of its own."""

    def __init__(self, model: Path, *options: str) -> None:
        command = [sys.executable, "-m", "afield", "serve", str(model), "--port", "0", "--threads", "1", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        address = self.process.stdout.readline().split()[3]
        self.port = int(address.split(":")[2].split("/")[0])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(600) == 0

    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mib(self) -> float:
        """Resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def post(self, connection: http.client.HTTPConnection, body: bytes, kind: str = "image/jpeg") -> int:
        """The status of the answer."""
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def connect(self) -> http.client.HTTPConnection:
        """A connection that stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def load(self, body: bytes, requests: int, clients: int = CLIENTS) -> None:
        """Send requests from several clients; each must be answered with 200."""
        statuses: list[int] = []

        def client(count: int) -> None:
            connection = self.connect()
            statuses.extend(self.post(connection, body) for _ in range(count))
            connection.close()

        threads = [threading.Thread(target=client, args=(requests // clients,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}, set(statuses)
        assert len(statuses) == requests // clients * clients


def timed(work: Callable[[], object], cpu_s: Callable[[], float] = time.process_time) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), cpu_s()
    work()
    return time.perf_counter() - wall, cpu_s() - cpu


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest ratio of paired rounds."""
    found = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return {"median": statistics.median(found), "smallest": min(found), "largest": max(found)}


def measure_speed(folder: Path, backbone: str, size: int, images: int, rounds: int) -> dict[str, Any]:
    """The served images a second, relative to the bare session and to a loop that also decodes."""
    model = load(saved_model(folder, backbone, size))
    photo = io.BytesIO()
    Image.fromarray(load_sample_images().images[0]).save(photo, "JPEG", quality=90)
    body = photo.getvalue()
    run = onnx_probabilities(make_graph(Outputs(model, preprocess=False), {}).SerializeToString(), threads=1)
    ready = to_batch(squash(decode(body), model.size)[None].copy()).numpy()
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "decoded": [], "served": []}
    with Server(folder) as server:
        server.load(body, CLIENTS)
        for _ in range(rounds):
            times["bare"].append(timed(lambda: [run(ready) for _ in range(images)]))
            times["decoded"].append(
                timed(
                    lambda: [
                        run(to_batch(squash(decode(body), model.size)[None].copy()).numpy()) for _ in range(images)
                    ]
                )
            )
            times["served"].append(timed(lambda: server.load(body, images), server.cpu_s))
    wall, cpu = ({name: [each[kind] for each in found] for name, found in times.items()} for kind in (0, 1))
    return {
        "backbone": backbone,
        "image_size": size,
        "images_per_round": images,
        "rounds": rounds,
        "clients": CLIENTS,
        "served_per_second": statistics.median(images / each for each in wall["served"]),
        "bare_per_second": statistics.median(images / each for each in wall["bare"]),
        "served_over_bare": ratios(wall["bare"], wall["served"]),
        "served_over_decoded": ratios(wall["decoded"], wall["served"]),
        "cpu_over_bare": ratios(cpu["served"], cpu["bare"]),
        "cpu_over_decoded": ratios(cpu["served"], cpu["decoded"]),
    }


def measure_memory(folder: Path, steps: Sequence[int]) -> dict[str, Any]:
    """Resident memory after numbers of requests, and the answers to bad input of the same server."""
    saved_model(folder, "resnet8", 32)
    image = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image, "PNG")
    body, done, found = image.getvalue(), 0, {}
    with Server(folder) as server:
        for step in steps:
            server.load(body, step - done)
            done = step
            found[str(step)] = round(server.rss_mib(), 1)
            print(f"{step:,} requests: {found[str(step)]} MiB", flush=True)
        bad = bad_input(server, body)
        server.load(body, CLIENTS)
    return {"rss_mib": found, "bad_input": bad}


def bad_input(server: Server, image: bytes) -> dict[str, int]:
    """The status of the answer to each kind of bad input."""
    form = "multipart/form-data; boundary=x"
    cases = {
        "empty body": (b"", "image/png"),
        "text": (b"not an image", "image/png"),
        "truncated image": (image[:500], "image/png"),
        "random bytes": (np.random.default_rng(1).bytes(10_000), "image/jpeg"),
        "20 MiB": (bytes(20 * 2**20), "image/png"),
        "damaged form": (b"--x\r\nnothing", form),
        "form without a boundary": (image, "multipart/form-data"),
        "form with 17 images": (
            b"".join(
                b'--x\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n' + image + b"\r\n"
                for _ in range(17)
            )
            + b"--x--\r\n",
            form,
        ),
    }
    found = {}
    for name, (body, kind) in cases.items():
        connection = server.connect()
        try:
            found[name] = server.post(connection, body, kind)
        except (BrokenPipeError, ConnectionResetError):  # the server answered before it had read all
            found[name] = connection.getresponse().status
        connection.close()
    assert all(400 <= status < 500 for status in found.values()), found
    return found


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks, few requests")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    network, size, images, rounds = ("resnet8", 32, 16, 2) if args.quick else ("tf_efficientnet_lite0", 224, 96, 7)
    steps = (16, 48) if args.quick else (1000, 10_000)
    with tempfile.TemporaryDirectory() as scratch:
        memory = measure_memory(Path(scratch) / "small", steps)
        speed = measure_speed(Path(scratch) / "speed", network, size, images, rounds)
    result = {"benchmark": "serving", "speed": speed, **memory, "onnxruntime": onnxruntime.__version__}
    for name in ("served_over_bare", "served_over_decoded", "cpu_over_bare", "cpu_over_decoded"):
        row = speed[name]
        print(f"{name:22}{row['median']:7.2f}  [{row['smallest']:.2f}, {row['largest']:.2f}]")
    print("bad input:", ", ".join(f"{name}: {status}" for name, status in memory["bad_input"].items()))
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
