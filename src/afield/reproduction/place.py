"""Where a paper's images are and how large its studies are, and the setups that papers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from afield.data import ImageSet, Validation, load
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.reproduction.pictures import Pictures, cifar, digits, pacs
from afield.runs.config import ExperimentConfig, choose_training, keep_class

Size = Literal["smoke", "small", "full"]

RESNET8 = BackboneConfig("resnet8")


@dataclass(frozen=True)
class Place:
    """Where the data are, and how large the studies are. At size smoke, the embedded digits replace all images.

    Attributes:
        size: smoke, small or full.
        data: the folder with ``cifar10.npz``, ``cifar100.npz`` and ``pacs/``.
        pretrained: what is fine-tuned at full size where the paper has a pretrained backbone; None: as in the paper.
    """

    size: Size
    data: Path
    pretrained: BackboneConfig | None = None

    def cifar(self, name: str) -> Pictures:
        """``cifar10`` or ``cifar100``."""
        return digits() if self.size == "smoke" else cifar(self.data, name)

    def pacs(self, image_size: int) -> ImageSet:
        """PACS with images of this side in pixels."""
        return load("digits") if self.size == "smoke" else pacs(self.data, image_size)

    def frozen_pacs(self) -> ExperimentConfig:
        """A head on features of PACS."""
        smoke = self.size == "smoke"
        backbone = RESNET8 if smoke else BackboneConfig(PACKAGE_BACKBONE, weights=PACKAGE)
        training = choose_training("frozen", epochs=2 if smoke else None)
        return ExperimentConfig(self.pacs(224), backbone, True, Validation(), training)

    def tuned_pacs(self) -> ExperimentConfig:
        """A pretrained backbone, fine-tuned on PACS as in the paper on flattening."""
        backbone = self.pretrained or BackboneConfig("resnet18", weights="pretrained")
        training = choose_training("flattening_paper", precision="bf16")
        return ExperimentConfig(self.pacs(224), backbone, False, Validation(), training)


def from_scratch(data: ImageSet, backbone: BackboneConfig = RESNET8, **settings: Any) -> ExperimentConfig:
    """A network trained from scratch, in bf16 unless the settings say otherwise; see `keep_class`."""
    training = keep_class(choose_training("scratch", **{"precision": "bf16", **settings}), data)
    return ExperimentConfig(data, backbone, False, Validation(), training)
