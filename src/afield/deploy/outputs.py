"""What an exported model computes, as one PyTorch module, and its metadata."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from afield.deploy.model import Model
from afield.deploy.resize import resize
from afield.pixels import as_floats


class Outputs(nn.Module):
    """Images -> the logits and the probabilities of a model, ``[N, K]`` each.

    Args:
        model: trained model.
        preprocess: whether the images are uint8 RGB ``[N, H, W, 3]`` of any size, which are resized. Otherwise they are
            float32 ``[N, 3, H, W]`` of the model's size, RGB in [0, 1].
    """

    def __init__(self, model: Model, preprocess: bool) -> None:
        super().__init__()
        self.classifier = model.classifier
        self.temperature = model.confidence.temperature
        self.size, self.resized = model.size, preprocess

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        if self.resized:
            pixels = resize(images.permute(0, 3, 1, 2).double(), self.size)
            images = as_floats(pixels.to(torch.uint8))
        logits = self.classifier.logits(images)
        return logits, (logits / self.temperature).softmax(dim=1)

    def example(self) -> tuple[Tensor, dict[str, dict[int, Any]]]:
        """Images to trace the module with, and the axes whose size can differ."""
        height, width = self.size
        images = torch.rand(2, 3, height, width)
        if self.resized:
            images = torch.zeros(2, height + 1, width + 1, 3, dtype=torch.uint8)
        names = ("N", "H", "W") if self.resized else ("N",)
        return images, {"images": {axis: torch.export.Dim(name, min=1) for axis, name in enumerate(names)}}


def metadata(model: Model, threshold: float | None) -> dict[str, str]:
    """The class names as JSON, the image size, the temperature and, if there is one, the threshold for review."""
    height, width = model.size
    found = {
        "class_names": json.dumps(list(model.class_names)),
        "image_size": str(height) if height == width else f"{height} x {width}",
        "temperature": str(model.confidence.temperature),
    }
    return found if threshold is None else {**found, "threshold": str(threshold)}
