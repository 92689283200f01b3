"""Translation of images with reflected edges."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from afield.augment import Translate
from tests.images import batch_of_bytes


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_shift_is_a_crop_of_the_reflected_image(kind):
    images = batch_of_bytes(40)
    params = Translate(3).sample(images, torch.Generator().manual_seed(0))
    assert set(params.down.tolist()) == set(params.right.tolist()) == set(range(-3, 4))
    padded = F.pad(images.double(), (3,) * 4, mode="reflect")
    found = Translate(3).apply(images.to(kind), params)
    assert found.dtype == kind
    for row, (down, right) in enumerate(zip(params.down.tolist(), params.right.tolist(), strict=True)):
        expected = padded[row, :, 3 - down : 12 - down, 3 - right : 12 - right]
        assert torch.equal(found[row].double(), expected)
