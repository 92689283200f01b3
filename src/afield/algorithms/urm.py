"""URM: features that an adversary cannot tell from uniform noise."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Uniform
from afield.validation import check_within


@ALGORITHMS.register(
    "urm",
    reference="Krishnamachari et al., Uniformly Distributed Feature Representations for Fair and Robust Learning, "
    "TMLR 2024.",
)
class URM(Algorithm):
    """Learns features that an adversary cannot tell from uniform noise (uniform risk minimization).

    A discriminator learns to tell features from samples of the uniform distribution in [0, 1), and the backbone learns
    that its features are taken for noise. It compares magnitudes: it receives ``tanh |features|``. The domains are not
    used.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        adversary: lambda, factor of the loss of the backbone, and of the features in the loss of the discriminator.
        hidden: units in the two hidden layers of the discriminator, 100 in DomainBed.

    Raises:
        ValueError: if the factor is negative.

    References:
        Krishnamachari et al., "Uniformly Distributed Feature Representations for Fair and Robust Learning", TMLR 2024,
        as in DomainBed, with these differences. In DomainBed the features of the classifier itself pass through tanh,
        and the noise is in [-1, 1), which features after a ReLU never fill; here the classifier is unchanged. The
        common optimizer updates both networks in the same step; in DomainBed the discriminator has its own Adam.
    """

    needs = "layers"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        adversary: Annotated[float, Uniform(0, 0.2)] = 0.1,
        hidden: int = 100,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        self.discriminator = nn.Sequential(
            *(nn.Linear(classifier.objective.head.in_features, hidden), nn.LeakyReLU()),
            *(nn.Linear(hidden, hidden), nn.LeakyReLU()),
            nn.Linear(hidden, 1),
        )

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``uniform`` (the loss of the backbone) and ``discriminator``."""
        features = self.classifier.features(batch.inputs)
        seen = magnitudes(features)
        noise = torch.rand(seen.shape).to(seen)
        frozen = copy.deepcopy(self.discriminator).requires_grad_(False)
        return {
            "objective": self.classifier.objective(self.classifier.dropout(features), batch.targets),
            "uniform": self.adversary * taken_for_noise(frozen, seen),
            "discriminator": taken_for_noise(self.discriminator, noise)
            + self.adversary * F.softplus(self.discriminator(seen.detach())).mean(),
        }


def magnitudes(features: Tensor) -> Tensor:
    """Features ``[B, D]`` -> what the discriminator compares with the noise, ``[B, D]``, in [0, 1)."""
    return features.abs().tanh()


def taken_for_noise(discriminator: nn.Module, values: Tensor) -> Tensor:
    """The binary cross-entropy of values ``[B, D]`` against the label of noise, a scalar."""
    return F.softplus(-discriminator(values)).mean()
