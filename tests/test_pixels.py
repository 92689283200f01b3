"""Layouts of batches of bytes."""

import pytest
import torch

from afield.pixels import layout_of, with_layout

FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 7), (0, 3, 4, 4), (3, 1, 4, 4)])
@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_another_layout_has_the_same_pixels(shape, first, second):
    images = torch.randint(256, shape, dtype=torch.uint8).contiguous(memory_format=first)
    found = with_layout(images, second)
    assert torch.equal(found, images)
    assert found.is_contiguous(memory_format=second)
    assert found.dtype == torch.uint8
    assert (found is images) == images.is_contiguous(memory_format=second)


def test_the_layout_is_that_of_the_strides():
    images = torch.zeros(2, 3, 5, 4, dtype=torch.uint8)
    assert layout_of(images) == torch.contiguous_format
    assert layout_of(images.contiguous(memory_format=torch.channels_last)) == torch.channels_last
    turned = images.transpose(2, 3)
    assert layout_of(turned) == torch.contiguous_format
    assert with_layout(turned, torch.contiguous_format).stride() == (60, 20, 5, 1)
