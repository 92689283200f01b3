"""Backbones divided before a stage."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from afield.errors import InputError
from afield.models import ResNet8, divide, layers, stage_channels, stage_outputs


@pytest.mark.parametrize(
    ("name", "stage", "shape"),
    [
        ("tf_efficientnet_lite0", "blocks.6", (2, 192, 2, 2)),
        ("tf_efficientnet_lite0", "conv_head", (2, 320, 2, 2)),
        ("resnet18", "layer4", (2, 256, 4, 4)),
        ("resnet18", "layer4.1", (2, 512, 2, 2)),
        ("convnext_atto", "stages.3", (2, 160, 4, 4)),
        ("mobilenetv3_small_050", "blocks.5", (2, 48, 2, 2)),
    ],
)
def test_both_parts_one_after_the_other_are_the_backbone(name, stage, shape):
    backbone = timm.create_model(name, num_classes=0).eval()
    before, after = divide(backbone, stage, (64, 64))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert before(images).shape == shape
        torch.testing.assert_close(after(before(images)), backbone(images))
    assert {*map(id, (*before.parameters(), *after.parameters()))} == {*map(id, backbone.parameters())}


@pytest.mark.parametrize(
    ("name", "stage", "channels", "whole"),
    [
        ("tf_efficientnet_lite0", "blocks.5", [112, 320], [3, 4]),
        ("tf_efficientnet_lite0", "blocks.6", [192, 320], [None, 4]),
        ("resnet18", "layer3", [128, 256, 512], [1, 2, 3]),
        ("resnet18", "layer4.1", [512, 512], [None, 3]),
    ],
)
def test_the_stages_of_the_last_layers_are_those_of_the_backbone_after_the_activations(name, stage, channels, whole):
    backbone, images = timm.create_model(name, num_classes=0).eval(), torch.rand(2, 3, 64, 64)
    before, after = divide(backbone, stage, (64, 64))
    assert stage_channels(after) == channels
    with torch.no_grad(), stage_outputs(backbone) as expected, stage_outputs(after) as found:
        after(activations := before(images))
        backbone(images)
    assert torch.equal(found[0], activations)
    for index, maps in zip(whole, found[: len(whole)], strict=True):
        if index is not None:
            torch.testing.assert_close(maps, expected[index - len(expected)])


def test_the_mode_of_the_backbone_stays():
    backbone = ResNet8().train()
    divide(backbone, "stages.2", (16, 16))
    assert all(module.training for module in backbone.modules())


def test_layers_are_named_in_forward_order():
    expected = ["stem.0", "stem.1", "stem.2", "stages.0", "stages.1", "stages.2", "pool.0", "pool.1"]
    assert list(layers(ResNet8())) == expected
    assert list(layers(nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(2, 2))))) == ["0", "1"]


@pytest.mark.parametrize(
    ("backbone", "stage", "message"),
    [
        (ResNet8(), "stage.2", "stage to train from: 'stage.2'.*stages.2"),
        (ResNet8(), "stem.0", "stage to train from: 'stem.0'"),  # no layer would be stored
        (ResNet8(), "pool.1", "cannot be divided there, because its layers do not form a sequence of feature maps"),
        (timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32), "blocks.10", "cannot be divided"),
    ],
)
def test_what_cannot_be_divided_is_refused(backbone, stage, message):
    if stage == "pool.1":
        backbone.pool[0] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(2))
    with pytest.raises(InputError, match=message):
        divide(backbone, stage, (32, 32))
