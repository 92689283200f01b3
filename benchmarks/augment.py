"""Images per second of batch augmentation, as ratios to torchvision and Pillow in the same run.

    python benchmarks/augment.py [--quick] [--out FILE]

Three comparisons: TrivialAugmentWide and RandAugment with random parameters for each image, and torchvision v2's
applied to one image at a time on the same uint8 tensors, then stacked; random resized crop, flip and normalization from
uint8, and torchvision v2's on Pillow images; and the time that a learned augmentor adds to a training step of
ResNet-18. At 224 px, each color operation is also compared with torchvision's alone. Both do the same float32
arithmetic, so `passes`, the time of ours as a multiple of that of multiplying the same float32 batch by a number in
place, shows how much could be saved at all.

All use one thread of one process, which keeps freed memory as afield's commands do. The contestants take turns and draw
new parameters every round. A ratio is that of medians of CPU seconds, so other work on the machine has little
influence. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from afield.augment import AffineAugmentor, RandAugment, RandomResizedCrop, TrivialAugmentWide
from afield.augment.policies.operations import operate
from afield.launch.allocator import keep_freed_memory
from afield.pixels import as_floats
from afield.records import write_json
from afield.runs.provenance import provenance

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Batch = Callable[[], object]


def medians(contestants: Mapping[str, Batch], rounds: int) -> dict[str, float]:
    """CPU seconds per batch of each contestant; they take turns, and the first two rounds are discarded."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for counted in range(-2, rounds):
        for name, batch in contestants.items():
            began = time.process_time()
            batch()
            if counted >= 0:
                times[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def photographs(count: int, size: int) -> Tensor:
    """uint8 ``[B, 3, H, W]``: smooth shapes with noise, with histograms and edges like those of photographs."""
    coarse = torch.rand(count, 3, 8, 8) * 255
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return (smooth + 8 * torch.randn(count, 3, size, size)).clamp(0, 255).to(torch.uint8)


def policies(size: int, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Images per second of both, and their ratio, for each policy."""
    images, generator = photographs(batch, size), torch.Generator().manual_seed(0)
    found = {}
    for ours, theirs in ((TrivialAugmentWide(), v2.TrivialAugmentWide()), (RandAugment(), v2.RandAugment())):
        contestants: dict[str, Batch] = {
            "afield": lambda ours=ours: ours(images, generator=generator),
            "torchvision": lambda theirs=theirs: torch.stack([theirs(image) for image in images]),
        }
        found[type(ours).__name__] = rates(contestants, batch, rounds)
    return found


PEERS: Mapping[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    "brightness": (lambda image, m: v2.functional.adjust_brightness(image, 1 + m), 0.3),
    "color": (lambda image, m: v2.functional.adjust_saturation(image, 1 + m), 0.3),
    "contrast": (lambda image, m: v2.functional.adjust_contrast(image, 1 + m), 0.3),
    "sharpness": (lambda image, m: v2.functional.adjust_sharpness(image, 1 + m), 0.3),
    "hue": (lambda image, m: v2.functional.adjust_hue(image, m), 0.1),
    "posterize": (lambda image, m: v2.functional.posterize(image, int(m)), 4),
    "solarize": (lambda image, m: v2.functional.solarize(image, 255 * m), 0.5),
    "autocontrast": (lambda image, m: v2.functional.autocontrast(image), 0),
    "equalize": (lambda image, m: v2.functional.equalize(image), 0),
    "invert": (lambda image, m: v2.functional.invert(image), 0),
}
"""torchvision's function for each color operation, and a magnitude."""


def operations(size: int, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Images per second of both, their ratio, and our time in passes over the float32 batch, for each operation."""
    images = photographs(batch, size)
    floats, found = images.float(), {}
    for name, (theirs, magnitude) in PEERS.items():
        contestants: dict[str, Batch] = {
            "afield": lambda: operate(name, images, magnitude),  # noqa: B023 - called before the next operation
            "torchvision": lambda: torch.stack([theirs(image, magnitude) for image in images]),  # noqa: B023
            "pass": lambda: floats.mul_(1.0),
        }
        seconds = medians(contestants, rounds)
        ours, peer, one = seconds.values()
        found[name] = {"afield": batch / ours, "torchvision": batch / peer, "ratio": peer / ours, "passes": ours / one}
    return found


def crops(size: int, batch: int, rounds: int) -> dict[str, float]:
    """The same for random resized crop, flip and normalization, from decoded images to a float batch."""
    images = photographs(batch, size).contiguous(memory_format=torch.channels_last)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    crop, generator = RandomResizedCrop(), torch.Generator().manual_seed(0)
    theirs = v2.Compose(
        [
            v2.RandomResizedCrop(size),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    contestants: dict[str, Batch] = {
        "afield": lambda: v2.functional.normalize(as_floats(crop(images, generator=generator)), MEAN, STD),
        "pillow": lambda: torch.stack([theirs(picture) for picture in pictures]),
    }
    return rates(contestants, batch, rounds)


def augmentor_cost(batch: int, rounds: int) -> dict[str, float]:
    """Seconds of a training step of ResNet-18 at 32 px and of a learned augmentation, and their ratio."""
    images, targets = torch.rand(batch, 3, 32, 32), torch.randint(10, (batch,))
    images = images.contiguous(memory_format=torch.channels_last)
    model = timm.create_model("resnet18", num_classes=10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    augment, generator = AffineAugmentor(), torch.Generator().manual_seed(0)

    def step() -> None:
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = medians({"step": step, "augmentor": lambda: augment(images, generator=generator)}, rounds)
    return {**seconds, "ratio": seconds["augmentor"] / seconds["step"]}


def rates(contestants: Mapping[str, Batch], batch: int, rounds: int) -> dict[str, float]:
    """Images per second of both contestants, and the ratio of the first to the second."""
    seconds = list(medians(contestants, rounds).values())
    return {**{name: batch / s for name, s in zip(contestants, seconds, strict=True)}, "ratio": seconds[1] / seconds[0]}


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def rounds(count: int) -> int:
        return 1 if args.quick else count

    result: dict[str, Any] = {
        "benchmark": "augment",
        "32 px, batch 128": policies(32, 128, rounds(200)),
        "224 px, batch 32": policies(224, 32, rounds(50)),
    }
    result["224 px, batch 32"]["crop + flip + normalize"] = crops(224, 32, rounds(75))
    result["operations, 224 px, batch 32"] = operations(224, 32, rounds(50))
    result["learned"] = augmentor_cost(128, rounds(25))
    print(f"{'images/s':20}{'':26}{'afield':>10}{'peer':>10}{'ratio':>8}")
    for setting in ("32 px, batch 128", "224 px, batch 32"):
        for name, row in result[setting].items():
            ours, peer, ratio = row.values()
            print(f"{setting:20}{name:26}{ours:>10,.0f}{peer:>10,.0f}{ratio:>8.2f}")
    for name, row in result["operations, 224 px, batch 32"].items():
        ours, peer, ratio, passes = row.values()
        print(f"{'224 px':20}{name:26}{ours:>10,.0f}{peer:>10,.0f}{ratio:>8.2f}{passes:8.1f} passes")
    cost = result["learned"]
    print(f"AffineAugmentor: {100 * cost['ratio']:.1f} % of a training step of ResNet-18 at 32 px, batch 128")
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
