"""Flips that alternate from epoch to epoch."""

from __future__ import annotations

import torch

from afield.augment import AlternatingFlip, Visit
from afield.augment.flips import coins


def test_two_epochs_of_alternating_flips_show_each_image_both_ways():
    flips, generator, indices = AlternatingFlip(), torch.Generator(), torch.arange(4000)
    images = torch.empty(4000, 3, 1, 1)
    first, second, third = (flips.sample_at(images, generator, Visit(indices, epoch, 5)).flip for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 0.47 < first.double().mean() < 0.53  # four standard deviations
    assert 0.47 < (first[1:] == first[:-1]).double().mean() < 0.53
    other = flips.sample_at(images, generator, Visit(indices, 0, 6)).flip
    assert 0.47 < (first == other).double().mean() < 0.53
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))[:50]
    assert torch.equal(coins(order, 5), first[order])
