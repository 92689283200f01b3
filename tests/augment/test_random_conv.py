"""Random convolutions, computed longhand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from afield.augment import RandomConv, build_chain, in_words
from afield.recipes import RECIPES


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, side: int = 9) -> torch.Tensor:
    return torch.rand(count, 3, side, side + 2, generator=seeded(1), dtype=torch.float64)


def longhand(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The sum over channels and neighbors, where outside of the image everything is gray."""
    channels, height, width = image.shape
    reach = kernel.shape[-1] // 2
    found = torch.zeros_like(image)
    for to in range(channels):
        for y in range(height):
            for x in range(width):
                for of in range(channels):
                    for dy in range(-reach, reach + 1):
                        for dx in range(-reach, reach + 1):
                            if 0 <= y + dy < height and 0 <= x + dx < width:
                                weight = kernel[to, of, dy + reach, dx + reach]
                                found[to, y, x] += weight * (image[of, y + dy, x + dx] - 0.5)
    return (found + 0.5).clamp(0, 1)


def test_each_image_is_filtered_with_its_own_kernel_and_mixed():
    images, augmentation = pictures(6), RandomConv(sizes=(1, 5), p=0.7)
    params = augmentation.sample(images, seeded(3))
    assert {*params.size.tolist()} == {0, 1, 5}
    found = augmentation.apply(images, params)
    for row, size in enumerate(params.size.tolist()):
        if size == 0:
            expected = images[row]
        else:
            margin = (5 - size) // 2
            kernel = params.weights[row][..., margin : margin + size, margin : margin + size].double()
            kept = params.kept[row].item()
            expected = kept * images[row] + (1 - kept) * longhand(images[row], kernel)
        torch.testing.assert_close(found[row], expected)
    assert torch.equal(augmentation.apply(images[2:5], params[2:5]), found[2:5])


def test_sizes_and_weights_are_drawn_as_the_paper_says():
    count = 4000
    params = RandomConv().sample(torch.zeros(count, 3, 1, 1), seeded())
    for size in (1, 3, 5, 7):
        of_size = params.size == size
        assert of_size.float().mean() == pytest.approx(0.25, abs=0.03)
        margin = (7 - size) // 2
        kernels = params.weights[of_size][..., margin : margin + size, margin : margin + size]
        assert kernels.mean() == pytest.approx(0, abs=0.02)
        assert kernels.square().mean() == pytest.approx(1 / (3 * size**2), rel=0.05)
    assert params.kept.mean() == pytest.approx(0.5, abs=0.02)
    assert params.kept.var() == pytest.approx(1 / 12, rel=0.05)
    rarely = RandomConv(mix=False, p=0.25).sample(torch.zeros(count, 3, 1, 1), seeded())
    assert (rarely.size > 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert not rarely.kept.any()


def test_the_contrast_stays_the_same_on_average():
    gray = 0.5 + 0.02 * torch.randn(400, 3, 16, 16, generator=seeded(2))
    found = RandomConv(mix=False)(gray, generator=seeded(4))[..., 3:-3, 3:-3] - 0.5
    assert found.square().mean().sqrt() == pytest.approx(0.02, rel=0.05)


def test_without_a_change_images_are_as_they_were():
    images = pictures(3)
    assert torch.equal(RandomConv(p=0.0)(images, generator=seeded()), images)
    params = RandomConv().sample(images, seeded())
    whole = dataclasses.replace(params, kept=torch.ones(3))
    torch.testing.assert_close(RandomConv().apply(images, whole), images)


def test_it_is_described_and_named():
    images = pictures(4)
    params = RandomConv(p=0.5).sample(images, seeded(5))
    words = [in_words(params, row, (9, 11)) for row in range(4)]
    for size, kept, said in zip(params.size.tolist(), params.kept.tolist(), words, strict=True):
        share = f"{100 * (1 - kept):.0f} %"
        assert said == (f"convolution of {size} x {size} px, {share}" if size else "unchanged")
    assert isinstance(build_chain("random_conv"), RandomConv)
    assert RECIPES["random_conv"].augment == "crop+random_conv"


def test_bytes_are_rounded_and_images_of_another_range_refused():
    images = (255 * pictures(4)).to(torch.uint8)
    params = RandomConv().sample(images, seeded())
    expected = (255 * RandomConv().apply(images / 255, params)).round()
    assert torch.equal(RandomConv().apply(images, params), expected.to(torch.uint8))
    with pytest.raises(ValueError, match="must lie in"):
        RandomConv()(torch.full((1, 3, 8, 8), 2.0))
