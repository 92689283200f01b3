"""The data folder and the size of the studies, and common setups of the papers."""

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
    """The data folder and the size of the studies. At size smoke, the embedded digits replace all images.

    Attributes:
        size: smoke, small or full.
        data: folder with ``cifar10.npz``, ``cifar100.npz`` and ``pacs/``.
        pretrained: pretrained backbone to fine-tune at size full; None uses that of the paper.
    """

    size: Size
    data: Path
    pretrained: BackboneConfig | None = None

    @property
    def precision(self) -> str:
        """The precision of trained networks: bf16, and at size smoke 32, which many CPUs compute faster."""
        return "32" if self.size == "smoke" else "bf16"

    def cifar(self, name: str) -> Pictures:
        """Load ``cifar10`` or ``cifar100``."""
        return digits() if self.size == "smoke" else cifar(self.data, name)

    def pacs(self, image_size: int) -> ImageSet:
        """Load PACS with images of this side in pixels."""
        return load("digits") if self.size == "smoke" else pacs(self.data, image_size)

    def frozen_pacs(self) -> ExperimentConfig:
        """The setup of a head on frozen features of PACS."""
        smoke = self.size == "smoke"
        backbone = RESNET8 if smoke else BackboneConfig(PACKAGE_BACKBONE, weights=PACKAGE)
        training = choose_training("frozen", epochs=2 if smoke else None)
        return ExperimentConfig(self.pacs(224), backbone, True, Validation(), training)

    def tuned_pacs(self) -> ExperimentConfig:
        """The setup of a pretrained backbone, fine-tuned on PACS as in the paper on flattening."""
        backbone = self.pretrained or BackboneConfig("resnet18", weights="pretrained")
        training = choose_training("flattening_paper", precision=self.precision)
        return ExperimentConfig(self.pacs(224), backbone, False, Validation(), training)

    def from_scratch(
        self, data: ImageSet, backbone: BackboneConfig = RESNET8, precision: str | None = None, **settings: Any
    ) -> ExperimentConfig:
        """The setup of a network trained from scratch, in the precision of the size by default; see `keep_class`."""
        training = keep_class(choose_training("scratch", precision=precision or self.precision, **settings), data)
        return ExperimentConfig(data, backbone, False, Validation(), training)
