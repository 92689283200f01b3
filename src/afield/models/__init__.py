"""Backbones: timm models, networks of this package, and their weights."""

from afield.models.backbone import (
    BACKBONES as BACKBONES,
    BackboneConfig as BackboneConfig,
    build_backbone as build_backbone,
)
from afield.models.division import divide as divide, layers as layers
from afield.models.inference import Precision as Precision, computation as computation, fast_inference as fast_inference
from afield.models.loss_prediction import LossPrediction as LossPrediction
from afield.models.resnet8 import ResNet8 as ResNet8
from afield.models.stages import (
    feature_stages as feature_stages,
    stage_channels as stage_channels,
    stage_means as stage_means,
    stage_outputs as stage_outputs,
)
from afield.models.whitened_vgg import WhitenedVGG as WhitenedVGG
from afield.models.whitening import patch_covariance as patch_covariance, whitening_filters as whitening_filters
