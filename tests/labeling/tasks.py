"""A small place to label: three groups of images on a circle, which the model tells apart badly at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from afield.heads import LinearHead
from afield.labeling.task import LabelingTask
from afield.objective import Objective

NAMES = ("cat", "dog", "owl")


def small_task(folder: Path, per_class: int = 12) -> tuple[LabelingTask, dict[str, str]]:
    """The task, and the true class of each path. Image files are of one color each."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.tensor([0.0, 2.1, 4.2]).repeat_interleave(per_class)
    angles = angles + 0.25 * torch.randn(len(angles), generator=generator)
    features = torch.stack([angles.cos(), angles.sin(), torch.ones(len(angles))], dim=1)
    order = torch.randperm(len(angles), generator=generator)
    paths = tuple(f"{i:02d}.png" for i in range(len(angles)))
    truth = {path: NAMES[index // per_class] for path, index in zip(paths, order.tolist(), strict=True)}
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(paths):
        Image.fromarray(np.full((8, 12, 3), 5 * i % 256, dtype=np.uint8)).save(folder / path)
    torch.manual_seed(0)
    objective = Objective(LinearHead(3, 3), {"cross_entropy": 1.0})
    return LabelingTask(folder, paths, features[order], objective, NAMES), truth
