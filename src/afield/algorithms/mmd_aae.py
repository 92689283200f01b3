"""MMD-AAE: aligns the features of all domains with each other and with a prior."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.reversal import scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within

BANDWIDTHS = (1.0, 5.0, 10.0)
"""Bandwidths of the kernels, in units of the features, as in the paper."""

THUMBNAIL = 16
"""Side length of the image that the decoder reconstructs, in cells."""


@ALGORITHMS.register(
    "mmd_aae", reference="Li et al., Domain Generalization with Adversarial Feature Learning, CVPR 2018."
)
class MMDAAE(Algorithm):
    """Aligns the domains' features by MMD, an autoencoder and an adversarial prior.

    The backbone is the encoder and the features are the code, so that the classifier itself is unchanged. A decoder
    and an adversary are used during training only. The decoder reconstructs the image, averaged over 16 x 16 cells,
    from the features. The adversary distinguishes the features from samples of a Laplace distribution with scale 1; its
    gradient is reversed before it reaches the backbone. The adversary receives absolute values: features after a ReLU
    are never negative, and the prior enforces sparsity, which depends on magnitudes only.

    In the paper the encoder is a layer on features of a frozen network, and the decoder reconstructs these features.
    There the adversary receives signed values, and the networks are updated in turns. The default factors are our
    choice for features of unit scale.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        reconstruction: factor of the mean squared reconstruction error.
        mmd: factor of the squared distance. As in the paper, it is averaged over all ordered pairs of domains,
            including the pairs of a domain with itself, whose distance is 0.
        adversary: factor of the reversed gradient. The adversary itself trains at the full learning rate.
        hidden: units in the hidden layer of decoder and adversary.

    Raises:
        ValueError: if an option is out of range.

    References:
        Li et al., "Domain Generalization with Adversarial Feature Learning", CVPR 2018.
    """

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        reconstruction: float = 0.1,
        mmd: float = 1.0,
        adversary: float = 0.1,
        hidden: int = 128,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", reconstruction=reconstruction, mmd=mmd, adversary=adversary)
        if not (isinstance(hidden, int) and hidden >= 1):
            raise ValueError(f"hidden must be a whole number, 1 or more, got {hidden!r}")
        self.reconstruction, self.mmd, self.reversal = reconstruction, mmd, -adversary
        features = classifier.objective.head.in_features
        self.decoder = two_layers(features, hidden, 3 * THUMBNAIL**2)
        self.adversary = two_layers(features, hidden, 1)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``reconstruction``, ``mmd`` and ``adversary`` (the loss of the adversary)."""
        features = self.classifier.features(batch.inputs)
        drawn = self.decoder(features).sigmoid()
        cells = F.adaptive_avg_pool2d(batch.inputs, THUMBNAIL).flatten(1)
        return {
            "objective": self.classifier.objective(self.classifier.dropout(features), batch.targets),
            "reconstruction": self.reconstruction * F.mse_loss(drawn, cells),
            "mmd": self.mmd * mmd_distance(features, batch.domains),
            "adversary": self.adversary_loss(scaled_gradient(features, self.reversal)),
        }

    def adversary_loss(self, features: Tensor) -> Tensor:
        """Binary cross-entropy of samples from the prior (1) against features (0), a scalar."""
        prior = torch.empty(features.shape).exponential_().to(features)
        real, false = self.adversary(prior), self.adversary(features.abs())
        return F.softplus(-real).mean() + F.softplus(false).mean()


def two_layers(entering: int, hidden: int, leaving: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them: ``[B, entering]`` -> ``[B, leaving]``."""
    return nn.Sequential(nn.Linear(entering, hidden), nn.ReLU(), nn.Linear(hidden, leaving))


def mmd_distance(features: Tensor, domains: Tensor) -> Tensor:
    """The squared maximum mean discrepancy, averaged over all G * G ordered pairs of the G domains: a scalar.

    The kernel is the mean of ``exp(-|a - b|^2 / (2 s^2))`` over the bandwidths ``s``.

    Args:
        features: features ``[B, D]``.
        domains: domain indices ``[B]``.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features if features.dtype == torch.float64 else features.float()
        lengths = features.square().sum(dim=1)
        squares = (lengths[:, None] + lengths - 2 * features @ features.T).clamp(min=0)
        kernel = torch.stack([(squares / (-2 * bandwidth**2)).exp() for bandwidth in BANDWIDTHS]).mean(dim=0)
        members = (domains == domains.unique()[:, None]).to(kernel.dtype)
        shares = members / members.sum(dim=1, keepdim=True)
        similar = shares @ kernel @ shares.T
        pairs = combinations(range(len(similar)), 2)
        distances = [similar[a, a] + similar[b, b] - 2 * similar[a, b] for a, b in pairs]
        return 2 * sum(distances, start=features.new_zeros(())) / len(similar) ** 2
