"""Batches on their way from a subset to the model."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.augment import AlternatingFlip
from afield.augment.flips import coins
from afield.training import Subset, prepared


def test_training_batches_are_mirrored_by_place_and_epoch():
    """Whatever the order of the epoch: each image of the source comes both ways within two epochs."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 9, 9, 3), dtype=np.uint8)
    source = Subset(pixels, np.arange(24) % 3, np.arange(23, -1, -1))
    plain = source.take(np.arange(24))[0]
    mirrored = []
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(24)
        batches = prepared(
            source,
            list(order.reshape(4, 6)),
            AlternatingFlip(),
            torch.Generator(),
            num_classes=3,
            fabric=Fabric(accelerator="cpu", devices=1),
            epoch=epoch,
            seed=9,
        )
        found = torch.cat([batch.inputs for batch in batches])[np.argsort(order)]
        mirrored.append([torch.equal(a, b.flip(-1)) for a, b in zip(found, plain, strict=True)])
    assert mirrored[0] == coins(torch.arange(24), 9).tolist()
    assert mirrored[1] == [not flip for flip in mirrored[0]]
