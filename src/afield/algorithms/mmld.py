"""MMLD: discovers latent domains by style and learns features that do not reveal them."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.clusters import cluster, renumbered
from afield.algorithms.parts.discriminator import two_hidden_layers
from afield.algorithms.parts.reversal import ramp, scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.models import feature_stages, stage_outputs
from afield.validation import check_within

EPS = 1e-5


@ALGORITHMS.register(
    "mmld",
    reference="Matsuura and Harada, Domain Generalization Using a Mixture of Multiple Latent Domains, AAAI 2020.",
)
class MMLD(Algorithm):
    """Discovers latent domains by clustering style and trains domain-adversarially against them.

    Before each epoch the training images are clustered by the mean and deviation of each channel in early feature
    maps. The clusters are matched to those of the previous epoch. A domain classifier learns to predict the cluster
    from the features, and its gradient is reversed before it reaches the backbone. The loss also contains the entropy
    of the prediction. The factors of the reversal and of the entropy increase from 0 to their full values by
    ``2 / (1 + exp(-10 p)) - 1``, where p is the fraction of the steps that are done. Domain labels are not used.

    The entropy is computed from logits without a margin, so that every head is supported. The domain classifier
    receives features normalized to length 1; in the paper they are not normalized. Without normalization the features
    can fool the classifier by their length alone: with a randomly initialized backbone and a high learning rate they
    grew until training failed.

    The method is made for pretrained networks. In a short training from scratch it does harm at the default options:
    both factors exceed 0.75 after a fifth of the steps, so that the entropy asks for certain predictions, and the
    reversed gradient for features without style, before the network has learned the classes.

    Args:
        classifier: model to train, in place. Its backbone must have stages that return feature maps.
        domain_sizes: number of training examples in each domain; gives the number of images and the default number of
            clusters.
        clusters: K, number of clusters. None means the number of training domains, or 3 if there is one domain. The
            paper uses 3 on PACS, which has three source domains, and finds similar results for 2 to 4.
        stages: number of first stages whose statistics describe the style. The authors' code uses two of the four
            stages of ResNet-18.
        adversary: factor of the reversed gradient, 1 in the paper.
        entropy: factor of the entropy, 1 in the paper.
        hidden: units in each of the two hidden layers of the domain classifier.

    Raises:
        ValueError: if an option is out of range.
        InputError: if the backbone has no stages.

    References:
        Matsuura and Harada, "Domain Generalization Using a Mixture of Multiple Latent Domains", AAAI 2020. As in the
        authors' code, clusters are weighted by the inverse of their size. That code reduces the statistics to 256
        principal components before k-means, increases the factors at each epoch, and trains both classifiers with ten
        times the learning rate of the backbone. Here all components are used, the factors increase at each step, and
        all parts have the same learning rate.
    """

    needs = "images"
    data_parallel = False
    clusters: Tensor

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        clusters: int | None = None,
        stages: int = 2,
        adversary: float = 1.0,
        entropy: float = 1.0,
        hidden: int = 1024,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        self.count = (len(domain_sizes) if len(domain_sizes) > 1 else 3) if clusters is None else clusters
        if not 2 <= self.count <= sum(domain_sizes):
            raise ValueError(f"clusters must lie between 2 and the number of images, got {clusters!r}")
        check_within("[0, inf)", adversary=adversary, entropy=entropy)
        found = feature_stages(classifier.backbone)
        if not 1 <= stages <= len(found):
            raise ValueError(f"stages must lie between 1 and {len(found)} for this backbone, got {stages!r}")
        self.stages, self.adversary, self.entropy = stages, adversary, entropy
        self.domain_classifier = domain_classifier(classifier.objective.head.in_features, self.count, hidden)
        self.register_buffer("clusters", torch.zeros(sum(domain_sizes), dtype=torch.int64))

    def start_epoch(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Cluster the training images by style."""
        training = self.classifier.training
        self.classifier.eval()
        styles = torch.cat([styles_of(self.classifier, batch.inputs, self.stages) for batch in batches()])
        self.classifier.train(training)
        self.clusters.copy_(renumbered(cluster(styles, self.count), self.clusters, self.count))

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``entropy`` and ``domain`` (the loss of the domain classifier)."""
        features, share = self.classifier.features(batch.inputs), ramp(batch.progress)
        embedded = self.classifier.dropout(features)
        guesses = self.domain_classifier(scaled_gradient(features, -share * self.adversary))
        return {
            "objective": self.classifier.objective(embedded, batch.targets),
            "entropy": share * self.entropy * mean_entropy(self.classifier.objective.logits(embedded)),
            "domain": self.domain_loss(guesses, batch.indices),
        }

    def domain_loss(self, guesses: Tensor, indices: Tensor) -> Tensor:
        """Cluster logits ``[B, E]``, example indices -> cross-entropy weighted by the inverse size of the cluster."""
        found = self.clusters[indices]
        losses = F.cross_entropy(guesses, found, reduction="none")
        counts = 1 / torch.bincount(self.clusters, minlength=self.count)[found].to(losses.dtype)
        return (counts * losses).sum() / counts.sum()


class UnitLength(nn.Module):
    """A layer that normalizes features ``[B, D]`` to length 1."""

    def forward(self, features: Tensor) -> Tensor:
        """``[B, D]`` -> ``[B, D]``."""
        return F.normalize(features, dim=1)


def domain_classifier(features: int, domains: int, hidden: int) -> nn.Sequential:
    """Features ``[B, D]`` -> domain logits ``[B, E]``: normalization to length 1 and two hidden layers."""
    return nn.Sequential(UnitLength(), *two_hidden_layers(features, hidden), nn.Linear(hidden, domains))


@torch.no_grad()
def styles_of(classifier: Classifier, inputs: Tensor, stages: int) -> Tensor:
    """Images ``[B, 3, H, W]`` -> mean and deviation of each channel after each of the first stages, ``[B, S]``."""
    with stage_outputs(classifier.backbone, _style) as styles:
        classifier.features(inputs)
    return torch.cat(styles[:stages], dim=1)


def _style(maps: Tensor) -> Tensor:
    """Feature maps ``[B, C, H, W]`` -> mean and deviation of each channel, ``[B, 2C]``."""
    return torch.cat([maps.mean(dim=(2, 3)), (maps.var(dim=(2, 3)) + EPS).sqrt()], dim=1)


def mean_entropy(logits: Tensor) -> Tensor:
    """Logits ``[B, K]`` -> the mean entropy of the predictions, in nats."""
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()
