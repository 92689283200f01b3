"""Several processes, or several pieces of a batch, train what one does with the same batches."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TRAIN = """
import json, sys
from pathlib import Path
import numpy as np, torch
from lightning_fabric import Fabric
from torch import nn
from afield.algorithms import Algorithm
from afield.augment import build_chain
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective
from afield.training import Splits, Subset, TrainConfig, fit

class Curve(Algorithm):
    losses = []
    def update(self, forward, batch, backward):
        terms = super().update(forward, batch, backward)
        self.losses.append(float(terms["objective"]))
        return terms

devices, pieces, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 48)
images = (rng.integers(0, 100, (48, 12, 12, 3)) + 50 * labels[:, None, None, None]).astype(np.uint8)
torch.manual_seed(0)
backbone = nn.Sequential(  # no batch normalization: its statistics are those of a process's share
    nn.Conv2d(3, 8, 3, 2), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 16, 3, 2), nn.GELU(), nn.Flatten(),
    nn.Linear(64, 16),
)
objective = Objective(LinearHead(16, 3), {"cross_entropy": 1.0})
classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
sources = [Subset(images, labels, rows) for rows in np.split(np.arange(48), [40])]
fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto")
fabric.launch()
training = TrainConfig(epochs=4, batch_size=8, accumulate=pieces, learning_rate=0.1)
progress = fit(
    Curve(classifier, [40]), Splits(*sources, {}), training, build_chain("crop_flip+mixup"), seed=0, label="",
    checkpoint_file=Path(out + ".safetensors"), fabric=fabric,
)
steps = torch.tensor(Curve.losses, dtype=torch.float64).view(-1, pieces).mean(dim=1)
mean = fabric.all_reduce(steps)
weights = torch.cat([p.detach().flatten() for p in classifier.parameters()]).tolist()
if fabric.is_global_zero:
    epochs = [epoch.train_loss for epoch in progress.epochs]
    open(out, "w").write(json.dumps({"steps": mean.tolist(), "epochs": epochs, "weights": weights}))
if devices > 1:
    torch.distributed.destroy_process_group()  # its threads would outlive the interpreter
"""


def curve(devices: int, pieces: int, out) -> dict[str, list[float]]:
    script = out.with_suffix(".py")
    script.write_text(TRAIN)
    command = [sys.executable, "-W", "ignore", str(script), str(devices), str(pieces), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, list[float]]:
    """One process, whole batches."""
    return curve(1, 1, tmp_path_factory.mktemp("alone") / "curve")


@pytest.mark.parametrize(("devices", "pieces"), [(2, 1), (1, 4), (2, 2)])
def test_the_loss_of_every_step_is_that_of_one_process_with_the_whole_batch(devices, pieces, alone, tmp_path):
    found = curve(devices, pieces, tmp_path / "curve")
    assert len(found["steps"]) == len(alone["steps"]) == 20
    assert max(alone["steps"]) > min(alone["steps"]) + 0.1
    for name, values in alone.items():
        assert found[name] == pytest.approx(values, abs=1e-5)
