"""Whitened patches: the identity as covariance, for networks and for runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from afield.models import patch_covariance, whitening_filters


@pytest.fixture
def images(digits) -> torch.Tensor:
    """Some digits, normalized as in training."""
    return torch.from_numpy(digits.images[:300]).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_whitened_patches_of_real_images_have_the_identity_as_covariance(images):
    """Variance v / (v + epsilon) along each eigenvector: 1 where patches differ at all."""
    filters = whitening_filters(images, 2)
    assert filters.shape == (24, 3, 2, 2)
    found = F.conv2d(images.double(), filters[:12].double()).permute(1, 0, 2, 3).flatten(1)
    covariance = found @ found.T / found.shape[1]
    variances = torch.linalg.eigvalsh(patch_covariance(images, 2)).flip(0)
    torch.testing.assert_close(covariance, torch.diag(variances / (variances + 5e-4)), atol=1e-4, rtol=0)
    exact = F.conv2d(images.double(), whitening_filters(images, 2, epsilon=0.0)[:12].double())
    exact = exact.permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(exact @ exact.T / exact.shape[1], torch.eye(12).double(), atol=2e-3, rtol=0)
    assert torch.equal(filters[12:], -filters[:12])


def test_the_covariance_of_patches_by_hand():
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    first, second = torch.tensor([1.0, 2.0, 4.0, 5.0]), torch.tensor([2.0, 3.0, 5.0, 6.0])
    expected = (first[:, None] * first + second[:, None] * second) / 2
    torch.testing.assert_close(patch_covariance(image, 2), expected.double())
