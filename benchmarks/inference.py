"""Feature extraction and prediction on a CPU, relative to the network as PyTorch computes it in float32.

    python benchmarks/inference.py --data FOLDER [--quick] [--out FILE]

FOLDER contains domain/class/image, such as PACS. The former computation is the network in evaluation mode, in
channels-last batches of 64 images; ours is `afield.models.fast_inference`. Extraction takes images from memory,
prediction decodes files. The contestants take turns in one process; a ratio is that of medians over rounds, of CPU time
and of wall time. Features are compared with the former ones.

The effect of bfloat16 is measured with a logistic regression on float32 features of all domains but one. It predicts
the images of the domain left out, from their features in float32 and in bfloat16. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from afield.classifier import Classifier
from afield.data import ImageSet, Validation, load
from afield.deploy.model import BATCH, Model
from afield.deploy.predict import predict_files
from afield.heads import LinearHead
from afield.models import BackboneConfig, Precision
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.objective import Objective
from afield.pixels import as_floats
from afield.records import write_json
from afield.runs.config import ExperimentConfig
from afield.runs.features import extractor, frozen_backbone
from afield.runs.provenance import provenance
from afield.training import PRESETS

Extract = Callable[[Tensor], NDArray[np.float32]]


class FormerModel(Model):
    """A model that computes as its network is."""

    @property
    def inference(self) -> Classifier:  # type: ignore[override]
        return self.classifier


def former_extractor(backbone: BackboneConfig) -> Extract:
    """The former extraction of features."""
    model = frozen_backbone(backbone)[0].eval().to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in backbone.normalization)

    def extract(images: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model((as_floats(images) - mean) / std).numpy()

    return extract


def our_extractor(data: ImageSet, backbone: BackboneConfig, precision: Precision) -> Extract:
    """The extraction of features in a comparison."""
    training = dataclasses.replace(PRESETS["frozen"], precision=precision)
    return extractor(ExperimentConfig(data, backbone, True, Validation(), training), Fabric(accelerator="cpu"))


def pixels(data: ImageSet, rows: NDArray[np.int64]) -> Tensor:
    """Images at these rows, uint8 ``[N, 3, H, W]``."""
    return torch.from_numpy(np.array(data.images[rows])).permute(0, 3, 1, 2)


def in_batches(extract: Extract, images: Tensor) -> NDArray[np.float32]:
    """Features ``[N, D]``."""
    return np.concatenate([extract(batch) for batch in images.split(BATCH)])


def model_of(data: ImageSet, backbone: BackboneConfig, kind: type[Model] = Model, **options: Any) -> Model:
    """A model with a head that is not trained."""
    network, width = frozen_backbone(backbone)
    torch.manual_seed(0)
    objective = Objective(LinearHead(width, len(data.class_names)), {"cross_entropy": 1.0})
    mean, std = backbone.normalization
    classifier = Classifier(network, objective, mean=mean, std=std, dropout=0.0).eval()
    return kind(classifier, data.class_names, data.images.shape[1], {}, **options)


def medians(contestants: dict[str, Callable[[], Any]], rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Images per second of CPU and wall time of each contestant, and the ratios to the first."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, run in contestants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    found = {}
    for name, times in seconds.items():
        cpu, wall = (statistics.median(column) for column in zip(*times[1:], strict=True))
        found[name] = {"images_per_cpu_s": count / cpu, "images_per_s": count / wall}
    first = next(iter(found.values()))
    for rates in found.values():
        rates["cpu"] = rates["images_per_cpu_s"] / first["images_per_cpu_s"]
        rates["wall"] = rates["images_per_s"] / first["images_per_s"]
    return found


def effect(data: ImageSet, backbone: BackboneConfig, rows: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy on domains left out, with features in float32 and in bfloat16."""
    images, labels, domains = pixels(data, rows), data.labels[rows], data.domains[rows]
    exact, short = (in_batches(our_extractor(data, backbone, precision), images) for precision in ("32", "bf16"))
    right: dict[str, list[bool]] = {"32": [], "bf16": []}
    same: list[bool] = []
    for domain in np.unique(domains):
        out = domains == domain
        head = LogisticRegression(C=0.1, max_iter=1000).fit(exact[~out], labels[~out])
        predicted = {"32": head.predict(exact[out]), "bf16": head.predict(short[out])}
        same += (predicted["32"] == predicted["bf16"]).tolist()
        for name, classes in predicted.items():
            right[name] += (classes == labels[out]).tolist()
    accuracy = {f"accuracy_{name}": float(np.mean(values)) for name, values in right.items()}
    return {"n": len(rows), **accuracy, "same_prediction": float(np.mean(same))}


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image")
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--quick", action="store_true", help="few images, one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    backbone = BackboneConfig(args.backbone, weights=args.weights)
    data = load(args.data, image_size=backbone.image_size)
    count, known, rounds = (16, 32, 1) if args.quick else (32, 500, 3)
    rows = np.linspace(0, len(data) - 1, count).astype(np.int64)
    images, files = pixels(data, rows), [Path(args.data) / data.paths[row] for row in rows]
    former, ours, short = (
        former_extractor(backbone),
        our_extractor(data, backbone, "32"),
        our_extractor(data, backbone, "bf16"),
    )
    expected, found = in_batches(former, images), in_batches(ours, images)
    result: dict[str, Any] = {
        "benchmark": "inference",
        "backbone": args.backbone,
        "image_size": backbone.image_size,
        "difference": float(np.abs(found - expected).max()),
        "largest_feature": float(np.abs(expected).max()),
        "difference_bf16": float(np.abs(in_batches(short, images) - expected).max()),
    }
    models = {
        "former": model_of(data, backbone, FormerModel),
        "ours": model_of(data, backbone),
        "bf16": model_of(data, backbone, precision="bf16"),
    }
    print(f"{'threads, task':24}{'computation':14}{'images per CPU s':>18}{'ratio':>8}{'ratio of wall':>15}")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        extraction = {"former": former, "ours": ours, "bf16": short}
        tasks: dict[str, dict[str, Callable[[], Any]]] = {
            "extract": {name: lambda each=each: in_batches(each, images) for name, each in extraction.items()},
            "predict": {name: lambda each=each: predict_files(each, files, "error") for name, each in models.items()},
        }
        for task, contestants in tasks.items():
            result[f"{task}, {threads} threads"] = rates = medians(contestants, rounds, count)
            for name, row in rates.items():
                where = f"{threads}, {task}"
                print(f"{where:24}{name:14}{row['images_per_cpu_s']:>18.1f}{row['cpu']:>8.2f}{row['wall']:>15.2f}")
    torch.set_num_threads(1)
    spread = np.linspace(0, len(data) - 1, min(known, len(data))).astype(np.int64)
    result["effect_bf16"] = effect(data, backbone, spread)
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
