"""MIRO: keeps the feature maps near those of the network that training started from."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.models import stage_channels, stage_outputs
from afield.validation import check_within

FIRST_VARIANCE, EPS = 0.1, 1e-5


@ALGORITHMS.register("miro", reference="Cha et al., Domain Generalization by Mutual-Information Regularization, 2022.")
class MIRO(Algorithm):
    """Keeps feature maps near those of the network that training started from.

    The pretrained network is kept unchanged as an oracle. The penalty is the mean over stages of
    ``mean(log v + (f0 - f)^2 / v) / 2``, with the feature maps f and f0 of the two networks and a learned variance v
    of each channel. It needs a pretrained backbone: with random initial weights there is nothing worth keeping.

    Args:
        classifier: model to train, in place. Its backbone must have stages that return feature maps.
        domain_sizes: not used.
        penalty: lambda; 0.01 to 1 in the paper, 0.1 in the authors' configuration.

    Raises:
        ValueError: if the penalty is negative.
        InputError: if the backbone has no stages.

    References:
        Cha et al., "Domain Generalization by Mutual-Information Regularization with Pre-trained Models", ECCV 2022,
        equation 5, with the identity as mean encoder. The authors train the variances with ten times the learning
        rate; here all parts have the same.
    """

    needs = "layers"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.01, 10)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty
        self.oracle = copy.deepcopy(classifier.backbone).requires_grad_(False)
        first = torch.tensor(FIRST_VARIANCE - EPS).expm1().log()
        self.raw_variances = nn.ParameterList(first.repeat(width) for width in stage_channels(self.oracle))

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``miro``."""
        with torch.no_grad():
            start = stage_maps(self.oracle, self.classifier.normalize(batch.inputs))
        with stage_outputs(self.classifier.backbone) as maps:
            objective = super().terms(batch)["objective"]
        losses = [distance(*each) for each in zip(maps, start, self.raw_variances, strict=True)]
        return {"objective": objective, "miro": self.penalty * torch.stack(losses).mean()}


def stage_maps(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """Normalized images ``[B, 3, H, W]`` -> the feature maps of the stages, in evaluation mode."""
    with stage_outputs(backbone.eval()) as maps:
        backbone(images)
    return maps


def distance(maps: Tensor, start: Tensor, raw_variance: Tensor) -> Tensor:
    """Half the mean of ``log v + (start - maps)^2 / v``, with the variance ``v = softplus(raw) + eps`` of each channel.

    Args:
        maps: ``[B, C, H, W]``.
        start: ``[B, C, H, W]``.
        raw_variance: ``[C]``.
    """
    variance = (F.softplus(raw_variance) + EPS)[:, None, None]
    return ((start - maps).square() / variance + variance.log()).mean() / 2
