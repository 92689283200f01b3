"""Cost of margin heads and flattening, as ratios to `F.linear` and `F.cross_entropy` in the same run.

    python benchmarks/objectives.py [--quick] [--out FILE]

Forward and backward on one thread, B = 128, D = 512. The contestants take turns, and a ratio is that of medians of CPU
seconds, so other work on the machine has little influence. Memory is the peak of PyTorch's allocations during one step,
inputs and weights included. pytorch-metric-learning takes part if it is installed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield import Objective
from afield.heads import ArcFaceHead, PartialFCHead
from afield.losses import ComplementFlattening
from afield.records import write_json
from afield.runs.provenance import provenance
from afield.training import SparseSGD

B, D = 128, 512
Step = Callable[[], object]


def medians(contestants: Mapping[str, Step], rounds: int) -> dict[str, float]:
    """CPU seconds per step; the order of contestants changes each round, and the first two rounds are discarded."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order, chance = list(contestants.items()), random.Random(0)
    for counted in range(-2, rounds):
        chance.shuffle(order)
        for name, step in order:
            began = time.process_time()
            step()
            if counted >= 0:
                times[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(make: Callable[[], Step]) -> int:
    """The peak of PyTorch's allocations while a contestant is built and takes one step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        make()()
    events = profile.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def training_step(criterion: Callable[[Tensor, Tensor], Tensor], weight: nn.Parameter, classes: int) -> Step:
    """The loss, with gradients of features and weights."""
    features = torch.randn(B, D, requires_grad=True)
    targets = torch.randint(classes, (B,))

    def step() -> None:
        features.grad = weight.grad = None
        criterion(features, targets).backward()

    return step


def linear_step(classes: int) -> Step:
    """A linear layer without bias, and cross-entropy."""
    weight = nn.Parameter(torch.randn(classes, D) * D**-0.5)
    return training_step(lambda x, y: F.cross_entropy(F.linear(x, weight), y), weight, classes)


def arcface_step(classes: int, losses: Mapping[str, float], gradient: str = "straight_through") -> Step:
    """Our ArcFace head and losses, as `Objective` computes them."""
    objective = Objective(ArcFaceHead(D, classes, gradient=gradient), losses)
    return training_step(objective, objective.head.weight, classes)


def composed_step(classes: int) -> Step:
    """The logits of the same head and cross-entropy on them: the readable reference."""
    head = ArcFaceHead(D, classes)
    return training_step(lambda x, y: F.cross_entropy(head(x, y), y), head.weight, classes)


def peer_step(classes: int) -> Step:
    """ArcFace of pytorch-metric-learning."""
    from pytorch_metric_learning.losses import ArcFaceLoss

    loss = ArcFaceLoss(classes, D, margin=math.degrees(0.1), scale=30)
    return training_step(loss, loss.W, classes)


def heads(classes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time and memory of margin heads, relative to the linear layer."""
    flattening = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    makers: dict[str, Callable[[], Step]] = {
        "linear": lambda: linear_step(classes),
        "arcface": lambda: arcface_step(classes, {"cross_entropy": 1.0}),
        "arcface exact": lambda: arcface_step(classes, {"cross_entropy": 1.0}, "exact"),
        "arcface + flattening": lambda: arcface_step(classes, flattening),
        "arcface composed": lambda: composed_step(classes),
    }
    if importlib.util.find_spec("pytorch_metric_learning"):
        makers["pytorch-metric-learning"] = lambda: peer_step(classes)
    memory = {name: peak_bytes(make) for name, make in makers.items()}
    seconds = medians({name: make() for name, make in makers.items()}, rounds)
    return {
        name: {"time": seconds[name] / seconds["linear"], "memory": memory[name] / memory["linear"]} for name in makers
    }


def flattening(classes: int, rounds: int) -> dict[str, float]:
    """Time of cross-entropy + 0.5 x flattening on logits, relative to cross-entropy."""
    logits, targets = torch.randn(B, classes, requires_grad=True), torch.randint(classes, (B,))

    def step(criterion: Callable[[Tensor, Tensor], Tensor]) -> Step:
        def run() -> None:
            logits.grad = None
            criterion(logits, targets).backward()

        return run

    both = ComplementFlattening(strength=0.5)
    seconds = medians({"cross_entropy": step(F.cross_entropy), "flattening": step(both)}, rounds)
    return {"time": seconds["flattening"] / seconds["cross_entropy"]}


def precision(gap: float = 120.0, classes: int = 1000) -> dict[str, Any]:
    """Flattening + cross-entropy with the target logit 120 above or below the others."""
    found: dict[str, Any] = {}
    targets = torch.randint(classes, (B,))
    base = torch.randn(B, classes)
    sign = torch.where(torch.arange(B) % 2 == 0, 1.0, -1.0)[:, None]
    for name in ("float32", "bfloat16", "float16"):
        logits = base.scatter(1, targets[:, None], gap * sign).to(getattr(torch, name))
        gradients = []
        for dtype in (logits.dtype, torch.float64):
            z = logits.to(dtype, copy=True).requires_grad_()
            values = ComplementFlattening(reduction="none")(z, targets)
            values.sum().backward()
            gradients.append(z.grad.double())
            if dtype == logits.dtype:
                found[f"{name} finite"] = bool(values.isfinite().all() and z.grad.isfinite().all())
        largest = gradients[1].abs().amax(dim=1, keepdim=True)
        found[f"{name} gradient error"] = float(((gradients[0] - gradients[1]).abs() / largest).max())
    return found


def million(classes: int, steps: int) -> dict[str, float]:
    """Training steps of the sampled head with a tenth of the classes, optimizer included."""
    objective = Objective(PartialFCHead(D, classes, share=0.1), {"cross_entropy": 1.0})
    optimizer = SparseSGD(objective.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    features, targets = torch.randn(B, D), torch.randint(classes, (B,))

    def step() -> None:
        objective(features, targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = medians({"step": step}, steps)["step"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"classes": classes, "seconds_per_step": seconds, "peak_rss_gib": peak / 2**30}


def main() -> None:
    """Measure, and print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer classes and rounds")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = {1_000: 20, 10_000: 5} if args.quick else {1_000: 200, 10_000: 20, 100_000: 7}
    result: dict[str, Any] = {"benchmark": "objectives", "batch": B, "features": D, "heads": {}, "flattening": {}}
    result["sampled"] = million(100_000 if args.quick else 1_000_000, 3)  # first, for its peak of resident memory

    print(f"{'head + loss / linear + cross-entropy':40}{'K':>9}{'time':>8}{'memory':>8}")
    for classes, count in rounds.items():
        result["heads"][classes] = heads(classes, count)
        for name, ratios in result["heads"][classes].items():
            print(f"{name:40}{classes:>9,}{ratios['time']:>8.2f}{ratios['memory']:>8.2f}")
    print(f"\n{'flattening + cross-entropy / cross-entropy':40}")
    for classes in (1_000, 10_000):
        result["flattening"][classes] = flattening(classes, 50 if args.quick else 300)
        print(f"{'on logits':40}{classes:>9,}{result['flattening'][classes]['time']:>8.2f}")
    result["precision"] = precision()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in result["precision"].items()))
    print("\nsampled head: " + ", ".join(f"{name} {value:.4g}" for name, value in result["sampled"].items()))
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
