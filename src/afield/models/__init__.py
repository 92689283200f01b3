"""Backbones: any timm model, a small one of our own, and their weights."""

from afield.models.backbone import BACKBONES, BackboneConfig, build_backbone
from afield.models.resnet8 import ResNet8
from afield.models.stages import feature_stages
from afield.models.whitened_vgg import WhitenedVGG
from afield.models.whitening import patch_covariance, whitening_filters

__all__ = [
    "BACKBONES",
    "BackboneConfig",
    "ResNet8",
    "WhitenedVGG",
    "build_backbone",
    "feature_stages",
    "patch_covariance",
    "whitening_filters",
]
