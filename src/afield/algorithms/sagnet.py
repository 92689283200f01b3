"""SagNet: classifies by the content of features and makes them poor in style."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.random_objective import random_objective
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within

EPS = 1e-5


@ALGORITHMS.register("sagnet", reference="Nam et al., Reducing Domain Gap by Reducing Style Bias, CVPR 2021.")
class SagNet(Algorithm):
    """Classifies by content with random styles, and makes features poor in style by an adversary.

    The style of an example is the mean and the deviation of its features; its content is what remains. The objective
    is on features whose style is mixed with that of another example. A second head learns the classes from features
    with the example's own style and another example's content; the backbone learns to make that head's predictions
    uniform.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        adversary: factor of the adversarial loss, 0.1 in the paper.

    Raises:
        ValueError: if the factor is negative.

    References:
        Nam et al., "Reducing Domain Gap by Reducing Style Bias", CVPR 2021, equations 1 to 6, on the pooled features,
        as in DomainBed; the paper randomizes feature maps. All parts are updated in the same step, and the adversary
        sees the examples of the second head; DomainBed updates them in turn and draws other partners for the adversary.
    """

    soft_targets = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        adversary: Annotated[float, LogUniform(0.01, 10)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        self.style = random_objective(classifier.objective)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``style`` (the loss of the second head) and ``adversary``."""
        features = self.classifier.features(batch.inputs)
        content = self.classifier.dropout(mixed_styles(features))
        styled = swapped_contents(features)
        frozen = copy.deepcopy(self.style).requires_grad_(False)
        return {
            "objective": self.classifier.objective(content, batch.targets),
            "style": self.style(styled.detach(), batch.targets),
            "adversary": -self.adversary * frozen.logits(styled).log_softmax(dim=1).mean(),
        }


def style(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features ``[B, D]`` -> the mean and the deviation of each example's features, ``[B, 1]`` each."""
    return features.mean(dim=1, keepdim=True), (features.var(dim=1, keepdim=True) + EPS).sqrt()


def mixed_styles(features: Tensor) -> Tensor:
    """Features ``[B, D]`` with their style mixed with that of a random partner, by a uniformly random weight each.

    As in DomainBed, it is the variance that is mixed, not the deviation.
    """
    mean, deviation = style(features)
    partner = torch.randperm(len(features)).to(features.device)
    weight = torch.rand(len(features), 1).to(features)
    new_mean = mean[partner].lerp(mean, weight)
    new_deviation = deviation.square()[partner].lerp(deviation.square(), weight).sqrt()
    return (features - mean) / deviation * new_deviation + new_mean


def swapped_contents(features: Tensor) -> Tensor:
    """Features ``[B, D]`` with their own style and the content of a random partner, which has no gradient."""
    mean, deviation = style(features)
    partner = torch.randperm(len(features)).to(features.device)
    return ((features - mean) / deviation)[partner].detach() * deviation + mean
