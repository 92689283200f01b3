"""Checks of backbones."""

from collections.abc import Callable
from typing import Any

import torch

from afield.testing.inputs import images

MakeBackbone = Callable[[], Any]


def check_backbone(backbone: MakeBackbone) -> None:
    """All checks of a backbone, a class or function without required arguments."""
    for check in BACKBONE_CHECKS:
        check(backbone)


def gives_its_number_of_features(backbone: MakeBackbone) -> None:
    """Images ``[B, 3, H, W]`` give features ``[B, num_features]``, with finite gradients of the parameters."""
    torch.manual_seed(0)
    model = backbone()
    found = model(images())
    assert found.shape == (4, model.num_features)
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def returns_from_its_state(backbone: MakeBackbone) -> None:
    """A backbone with the state dict of another one gives the same features."""
    torch.manual_seed(0)
    model, other = backbone().eval(), backbone().eval()
    assert not torch.equal(other(images()), model(images())), "two backbones have the same weights"
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images()), model(images()))


BACKBONE_CHECKS = (gives_its_number_of_features, returns_from_its_state)
"""The checks of `check_backbone`."""
