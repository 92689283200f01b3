"""Drawn parameters in words."""

from __future__ import annotations

import torch

from afield.augment import AlternatingFlip, Translate, Visit, in_words
from tests.images import batch_of_bytes


def test_draws_in_words():
    images = batch_of_bytes()
    params = Translate().sample(images, torch.Generator().manual_seed(0))
    place = int((params.down != 0).nonzero()[0])
    assert in_words(params, place, (9, 9)) == f"shift {params.right[place]}, {params.down[place]} px"
    flips = AlternatingFlip().sample_at(images, torch.Generator(), Visit(torch.arange(6), 0, 0))
    assert [in_words(flips, i, (9, 9)) == "flipped" for i in range(6)] == flips.flip.tolist()
