"""Backbones: any timm model, a small one of our own, and their weights."""

from afield.models.backbone import BACKBONES, BackboneConfig, build_backbone
from afield.models.resnet8 import ResNet8
from afield.models.stages import feature_stages

__all__ = ["BACKBONES", "BackboneConfig", "ResNet8", "build_backbone", "feature_stages"]
