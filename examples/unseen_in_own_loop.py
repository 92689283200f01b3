"""A plain PyTorch loop, measured on each domain that it has not seen, for two losses."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from afield.data import Validation, load, make_fold, parts_of
from afield.evaluation import METRICS, bootstrap, measure
from afield.losses import ComplementFlattening

data = load("digits")
images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
labels = torch.from_numpy(data.labels)


def train(criterion: nn.Module, indices: np.ndarray) -> nn.Module:
    """Your own training code."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, 2, 1), nn.InstanceNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, 2, 1), nn.InstanceNorm2d(64), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(5):
        for batch in torch.from_numpy(np.random.default_rng(0).permutation(indices)).split(64):
            criterion(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def unseen(criterion: nn.Module) -> np.ndarray:
    """The logits of each image from a model that was trained without its domain."""
    logits = np.zeros((len(data), 10), np.float32)
    for part in parts_of(data):
        fold = make_fold(data, [part], Validation(), 0)
        model, test = train(criterion, fold.train), fold.tests[part]
        with torch.no_grad():
            logits[test] = model(images[test]).numpy()
            validation = F.cross_entropy(model(images[fold.val]), labels[fold.val])  # not the training criterion
        print(f"without {part}: validation loss {validation:.2f}")
    return logits


def report(name: str, logits: np.ndarray) -> None:
    """Print metrics with their intervals."""
    found = measure(logits, data.labels, data.domains)
    groups = np.arange(len(data)) if data.groups is None else data.groups
    ends = bootstrap(lambda weight: measure(logits, data.labels, data.domains, weight), groups)
    for metric in ("accuracy", "worst_domain", "ece"):
        low, high = ends[metric]
        print(f"{name}: {METRICS[metric].title} {found[metric]:.3f} [{low:.3f}, {high:.3f}]")


for name, criterion in {"cross-entropy": nn.CrossEntropyLoss(), "flattening": ComplementFlattening()}.items():
    report(name, unseen(criterion))
