"""MMLD: discovers latent domains by style and learns features that do not reveal them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.clusters import cluster, renumbered
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.reversal import ramp, scaled_gradient
from afield.classifier import Classifier
from afield.models import feature_stages

EPS = 1e-5


class MMLD(Algorithm):
    """The objective, the entropy of the prediction, and a classifier of latent domains that the features deceive.

    Before each epoch the training images are clustered by mean and deviation of each channel in early feature maps;
    clusters keep their numbers as far as they keep their images. A network learns to tell a feature's cluster, and
    its gradient is reversed on the way to the backbone. The factors of reversal and entropy grow from 0 to their full
    value by ``2 / (1 + exp(-10 p)) - 1``, where p is the share of the steps that are done. Domain labels are not used.

    The entropy is that of the logits without a margin, so that every head goes with it. The network sees features of
    length 1: they could deceive it by their length alone, and grew until training failed where a backbone starts from
    random weights at a high rate. The paper has them as they are.

    Args:
        classifier: trained in place; its backbone must have stages that give feature maps.
        domain_sizes: how many images there are, and how many clusters unless said otherwise.
        clusters: K; None takes the number of training domains, or 3 where there is one domain. The paper takes 3 on
            PACS, whose sources are three, and finds 2 to 4 alike.
        stages: how many of the first stages the style is taken from; the authors' code takes two of ResNet-18's four.
        adversary: factor of the reversed gradient, 1 in the paper.
        entropy: factor of the entropy, 1 in the paper.
        hidden: units in both hidden layers of the network that tells the clusters apart.

    Raises:
        ValueError: an option out of bounds.
        InputError: a backbone without stages.

    References:
        Matsuura and Harada, "Domain Generalization Using a Mixture of Multiple Latent Domains", AAAI 2020. As in the
        authors' code, clusters count by the inverse of their size. That code brings the statistics down to 256
        principal components before k-means, raises the factors from epoch to epoch, and gives the two classifiers
        ten times the rate of the backbone; here all components count, factors rise from step to step, and one rate
        is for all.
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
        if not (adversary >= 0 and entropy >= 0):
            raise ValueError(f"adversary and entropy must be at least 0, got {adversary!r} and {entropy!r}")
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
        """``objective``, ``entropy`` and ``domain``, what the network that tells clusters apart loses."""
        features, share = self.classifier.features(batch.inputs), ramp(batch.progress)
        embedded = self.classifier.dropout(features)
        guesses = self.domain_classifier(scaled_gradient(features, -share * self.adversary))
        return {
            "objective": self.classifier.objective(embedded, batch.targets),
            "entropy": share * self.entropy * mean_entropy(self.classifier.objective.logits(embedded)),
            "domain": self.domain_loss(guesses, batch.indices),
        }

    def domain_loss(self, guesses: Tensor, places: Tensor) -> Tensor:
        """Logits of clusters ``[B, E]``, places -> cross-entropy, weighted by the inverse of the clusters' sizes."""
        found = self.clusters[places]
        losses = F.cross_entropy(guesses, found, reduction="none")
        counts = 1 / torch.bincount(self.clusters, minlength=self.count)[found].to(losses.dtype)
        return (counts * losses).sum() / counts.sum()


class UnitLength(nn.Module):
    """Features ``[B, D]`` -> the same of length 1."""

    def forward(self, features: Tensor) -> Tensor:
        """``[B, D]`` -> ``[B, D]``."""
        return F.normalize(features, dim=1)


def domain_classifier(features: int, domains: int, hidden: int) -> nn.Sequential:
    """Features ``[B, D]`` -> logits of domains ``[B, E]``: to length 1, then two hidden layers."""
    first = (nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.5))
    second = (nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(UnitLength(), *first, *second, nn.Linear(hidden, domains))


@torch.no_grad()
def styles_of(classifier: Classifier, inputs: Tensor, stages: int) -> Tensor:
    """Images ``[B, 3, H, W]`` -> mean and deviation of each channel after each of the first stages, ``[B, S]``."""
    styles: list[Tensor] = []

    def note(module: object, inputs: object, maps: Tensor) -> None:
        styles.extend((maps.mean(dim=(2, 3)), (maps.var(dim=(2, 3)) + EPS).sqrt()))

    with ExitStack() as hooks:
        for stage in feature_stages(classifier.backbone)[:stages]:
            hooks.callback(stage.register_forward_hook(note).remove)
        classifier.features(inputs)
    return torch.cat(styles, dim=1)


def mean_entropy(logits: Tensor) -> Tensor:
    """Logits ``[B, K]`` -> the mean entropy of the predictions, in nats."""
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()


ALGORITHMS.add(
    "mmld",
    MMLD,
    summary="Discovers latent domains by clustering style and trains domain-adversarially against them.",
    reference="Matsuura and Harada, Domain Generalization Using a Mixture of Multiple Latent Domains, AAAI 2020.",
)
