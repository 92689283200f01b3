"""The classifier: normalization, backbone, feature normalization, dropout and objective."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from afield.heads.dropout import Dropout
from afield.objective import Objective


class FeatureNorm(nn.Module):
    """Standardizes features with fixed statistics: ``(features - mean) / std``. It is the identity until they are set.

    Args:
        features: D.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """``[B, D]`` -> ``[B, D]``."""
        return (features - self.mean) / self.std


class Classifier(nn.Module):
    """A model that maps images in [0, 1] to a loss or to logits.

    Args:
        backbone: maps images ``[B, 3, H, W]`` to features ``[B, D]``; `nn.Identity` for precomputed features.
        objective: head and losses.
        mean: mean of each channel, subtracted before the backbone.
        std: standard deviation of each channel, a divisor before the backbone.
        dropout: dropout probability of the features during training.
        feature_norm: module that standardizes the features of the backbone; None keeps them unchanged.
        fixed_batch_norm: whether batch normalization of the backbone keeps its statistics during training.
    """

    mean: Tensor
    std: Tensor
    loss_prediction: nn.Module | None
    """Predicts the loss of each image from the stages of the backbone, after a training that adds it; else None."""

    def __init__(
        self,
        backbone: nn.Module,
        objective: Objective,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        dropout: float,
        feature_norm: FeatureNorm | None = None,
        fixed_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature_norm = feature_norm
        self.dropout = Dropout(dropout)
        self.objective = objective
        self.loss_prediction = None
        self.fixed_batch_norm = fixed_batch_norm
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def train(self, mode: bool = True) -> Self:
        """See `nn.Module.train`. Batch normalization stays in evaluation mode if its statistics are fixed."""
        super().train(mode)
        for module in self.backbone.modules() if self.fixed_batch_norm else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    @property
    def num_classes(self) -> int:
        """K."""
        return self.objective.head.num_classes

    def normalize(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [0, 1] -> normalized images for the backbone."""
        return (images - self.mean) / self.std

    def backbone_features(self, inputs: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [0, 1], or precomputed features -> features ``[B, D]`` before `feature_norm`."""
        return self.backbone(self.normalize(inputs) if inputs.ndim == 4 else inputs)

    def features(self, inputs: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [0, 1], or precomputed features ``[B, D]`` -> features ``[B, D]``."""
        features = self.backbone_features(inputs)
        return features if self.feature_norm is None else self.feature_norm(features)

    def embed(self, inputs: Tensor) -> Tensor:
        """Inputs -> features for the objective, ``[B, D]``, with dropout during training."""
        return self.dropout(self.features(inputs))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Inputs, class indices ``[B]`` or probabilities ``[B, K]`` -> the loss, a scalar."""
        return self.objective(self.embed(inputs), targets)

    def logits(self, inputs: Tensor) -> Tensor:
        """Inputs -> logits for prediction, ``[B, K]``."""
        return self.objective.logits(self.features(inputs))


class LogitsOnly(nn.Module):
    """A module that maps images ``[B, 3, H, W]`` in [0, 1] to the logits ``[B, K]`` of a classifier."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.classifier.logits(images)
