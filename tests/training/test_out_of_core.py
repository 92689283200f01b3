"""Sets larger than the allowed memory: how they are shuffled and read, and what a process then takes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from afield.amounts import parse_bytes
from afield.errors import InputError
from afield.training import Subset
from afield.training.out_of_core import BLOCK_BYTES, block_order, read_batches, window_rows


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def mapped(tmp_path):
    """500 rows of 6 x 4 x 3 bytes in a file; row i holds i, modulo 251."""
    rows = np.tile((np.arange(500) % 251).astype(np.uint8)[:, None, None, None], (1, 6, 4, 3))
    np.save(tmp_path / "rows.npy", rows)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize("count", [1, 63, 64, 1000, 1001])
@pytest.mark.parametrize("window", [8, 128, 640])
def test_every_position_comes_once_whatever_the_window(count, window):
    assert sorted(block_order(count, window, 1000, generator()).tolist()) == list(range(count))


def test_a_window_is_blocks_of_neighbors_from_all_over_shuffled():
    order = block_order(10_000, 1280, 3000, generator())
    for start in range(0, 10_000, 1280):
        blocks, counts = np.unique(np.sort(order[start : start + 1280]) // 20, return_counts=True)  # 1280 // 64 = 20
        assert len(blocks) <= 65
        assert (counts == 20).mean() > 0.9
        assert blocks.max() - blocks.min() > 400  # of 500
    assert (np.diff(order) == 1).mean() < 0.01


def test_the_order_is_decided_by_the_seed():
    first, again, other = (block_order(999, 128, 1000, generator(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_sixth_of_the_memory_is_a_window_of_whole_batches_and_at_least_one():
    assert window_rows(6_000_000, 1000, batch=64) == 960
    assert window_rows(4_000, 1000, batch=64) == 64


def test_a_block_is_read_in_one_piece_of_a_mebibyte_where_memory_allows():
    order = np.sort(block_order(100_000, 64_000, 10_000, generator())[:64_000])
    runs = np.split(order, np.flatnonzero(np.diff(order) != 1) + 1)
    assert BLOCK_BYTES // 10_000 == 104
    assert np.median([len(run) for run in runs]) >= 104


@pytest.mark.parametrize("window", [1, 30, 77, 10_000])
def test_rows_are_read_as_they_are_asked_for_whatever_the_window(mapped, window):
    order = generator().permutation(500)
    batches = [order[:30], order[30:60], order[60:61], np.arange(450, 500), order[61:200]]
    found = list(read_batches(mapped, batches, window))
    assert len(found) == len(batches)
    for rows, batch in zip(batches, found, strict=True):
        assert batch.shape == (len(rows), 6, 4, 3)
        assert (batch == mapped[rows]).all()


def test_reading_may_stop_anywhere(mapped):
    batches = read_batches(mapped, [np.arange(i, i + 10) for i in range(0, 500, 10)], 40)
    assert (next(batches) == mapped[:10]).all()
    batches.close()


@pytest.mark.parametrize("memory", [None, 36_000, 20_000, 1_000])
def test_a_source_gives_the_same_examples_whatever_the_memory(mapped, memory):
    labels = np.arange(500) % 7
    source = Subset(mapped, labels, np.arange(0, 500, 3), memory=memory)
    order = source.order(16, generator())
    assert sorted(order.tolist()) == list(range(167))
    batches = list(order[:160].reshape(10, 16))
    for rows, (images, targets) in zip(batches, source.batches(batches), strict=True):
        assert images.shape == (16, 3, 6, 4)
        assert (images.permute(0, 2, 3, 1).numpy() == mapped[3 * rows]).all()
        assert targets.tolist() == labels[3 * rows].tolist()


def test_a_limit_that_is_not_reached_changes_nothing(mapped):
    orders = [
        Subset(mapped, np.zeros(500, int), np.arange(500), memory=m).order(16, generator()) for m in (None, 36_000)
    ]
    assert orders[0].tolist() == orders[1].tolist() == generator().permutation(500).tolist()
    below = Subset(mapped, np.zeros(500, int), np.arange(500), memory=35_999).order(16, generator())
    assert below.tolist() != orders[0].tolist()


TRAIN = """
import json, sys
import numpy as np, torch
from lightning_fabric import Fabric
from pathlib import Path
from torch import nn
from afield.algorithms import ERM
from afield.augment import build_chain
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective
from afield.training import Splits, Subset, TrainConfig, fit

def status(name):  # kB
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

class Mean(nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))

def train(images, memory, folder):
    labels, every = np.arange(len(images)) % 3, np.arange(len(images))
    rows = (every[every % 10 > 0], every[::10], every)
    source, val, test = (Subset(images, labels, chosen, memory=memory) for chosen in rows)
    classifier = Classifier(
        Mean(), Objective(LinearHead(3, 3), {"cross_entropy": 1.0}), mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0
    )
    fabric = Fabric(accelerator="cpu", devices=1)
    fit(
        ERM(classifier, [len(source)]), Splits(source, val, {"test": test}), TrainConfig(epochs=1, batch_size=4),
        build_chain("resized_crop"), seed=0, label="", checkpoint_file=Path(folder) / "c.safetensors", fabric=fabric,
    )

def peak(images, memory, folder):
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    train(images, memory, folder)
    return 1024 * (status("VmHWM") - before)

torch.set_num_threads(1)
train(np.zeros((60, 112, 112, 3), np.uint8), None, sys.argv[2] + "/warm")
images = np.load(sys.argv[1], mmap_mode="r")
print(json.dumps([peak(images, 60_000_000, sys.argv[2] + "/bounded"), peak(images, None, sys.argv[2] + "/mapped")]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_set_three_times_the_memory_trains_within_it(tmp_path):
    """Resident memory of all kinds, mapped files too: 200 MB of images, of which 60 MB may be there."""
    file = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (5320, 112, 112, 3))
    file[:] = np.arange(112, dtype=np.uint8)[:, None]
    del file
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, str(tmp_path / "images.npy"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bounded, mapped = json.loads(done.stdout)
    assert bounded < 60_000_000
    assert mapped > 180_000_000  # and so the measure sees the mapped file


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("2GiB", 2 << 30), ("1.5 GB", 1_500_000_000), ("800M", 800_000_000), ("64KiB", 65536), ("1000", 1000)],
)
def test_amounts_of_memory_as_people_write_them(text, bytes_):
    assert parse_bytes("--memory", text) == bytes_


@pytest.mark.parametrize("text", ["", "much", "2 gallons", "-1GB", "1e9"])
def test_other_amounts_are_refused(text):
    with pytest.raises(InputError, match="--memory must be an amount of memory such as 2GiB"):
        parse_bytes("--memory", text)
