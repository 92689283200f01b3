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


def test_coins_are_the_highest_bits_of_splitmix64():
    published = (
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    )
    assert coins(torch.arange(1, 6), 1234567).tolist() == [number >= 2**63 for number in published]

    def mixed(number: int) -> int:
        number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        return (number ^ number >> 27) * 0x94D049BB133111EB % 2**64

    for seed in (7, -3):
        expected = [mixed((i * 0x9E3779B97F4A7C15 + seed) % 2**64) >= 2**63 for i in range(300)]
        assert coins(torch.arange(300), seed).tolist() == expected
