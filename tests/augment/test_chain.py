"""Chains of augmentations: what their parts are told."""

from __future__ import annotations

import torch

from afield.augment import AlternatingFlip, Translate, Visit, build_chain, sample_at
from afield.augment.flips import coins
from tests.images import batch_of_bytes


def test_a_chain_tells_its_parts_which_images_they_see():
    images, generator = batch_of_bytes(), torch.Generator().manual_seed(1)
    visit = Visit(torch.arange(6), 0, 3)
    shifts, flips = sample_at(build_chain("translate+alternating_flip"), images, generator, visit)
    assert torch.equal(flips.flip, coins(visit.indices, 3))
    alone = Translate().sample(images, torch.Generator().manual_seed(1))
    assert torch.equal(shifts.down, alone.down)
    chain = build_chain("translate+alternating_flip")
    assert chain.takes_bytes
    expected = AlternatingFlip().apply(Translate().apply(images, shifts), flips)
    assert torch.equal(chain.apply(images, (shifts, flips)), expected)
