"""MASF: meta-learns features whose class relations agree across domains."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.inner_step import inner_step
from afield.algorithms.parts.triplets import semi_hard_triplets
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "masf",
    reference="Dou et al., Domain Generalization via Model-Agnostic Learning of Semantic Features, NeurIPS 2019.",
)
class MASF(Algorithm):
    """Meta-learns features whose class relations agree across domains, with a triplet loss.

    Each step draws a meta-test domain. The loss is the objective on the other domains (meta-train), plus two losses
    on all domains after a gradient step on that objective. Both are differentiated through the gradient step.

    The global loss aligns the class relations of domains. The mean logits of each class in a domain, softened by a
    temperature, describe how the class is confused with others. The loss is the symmetric divergence between these
    soft labels of the meta-test domain and those of each meta-train domain. The local loss is a triplet loss on
    embeddings of the features, across domains.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        inner_rate: alpha, learning rate of the gradient step; 1e-5 in the paper, the rate of its optimizer (Adam). A
            larger rate looks further ahead.
        clip: largest norm of each parameter's gradient in the gradient step, 2 in the paper.
        alignment: beta_1, factor of the global loss, 1 in the paper.
        metric: beta_2, factor of the local loss, 0.005 in the paper.
        temperature: tau, 2 in the paper.
        margin: margin of the triplet loss, in squared distance; 10 in the authors' code.

    Raises:
        ValueError: if an option is out of range.

    References:
        Dou et al., "Domain Generalization via Model-Agnostic Learning of Semantic Features", NeurIPS 2019, algorithm 1
        and equations 3 to 6. The second derivative is computed, as in the paper; the authors' code omits it. As in
        that code, logits are averaged (the paper averages features before the classifier, which is the same for a
        linear head), a class that is missing in one of the two domains counts as aligned, and the embedding has 1,024
        and 256 units with leaky ReLU. Triplets come from the whole batch; in that code they come from a third of it.
        That code also clips the outer gradient: a second Adam optimizer minimizes the global and the local loss, and
        the norm of each parameter's gradient of their sum is at most `clip`. Here one optimizer minimizes all losses
        together, and only the gradient step is clipped. ``--clip-grad`` clips the norm of the whole outer gradient.
    """

    domains_at_least = 2
    sampling = "balanced"
    soft_targets = False
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        inner_rate: float = 1e-5,
        clip: float = 2.0,
        alignment: float = 1.0,
        metric: float = 0.005,
        temperature: float = 2.0,
        margin: float = 10.0,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", inner_rate=inner_rate, alignment=alignment, metric=metric, margin=margin)
        check_within("(0, inf)", clip=clip, temperature=temperature)
        self.inner_rate, self.clip, self.temperature, self.margin = inner_rate, clip, temperature, margin
        self.alignment, self.metric = alignment, metric
        first, second = nn.Linear(classifier.objective.head.in_features, 1024), nn.Linear(1024, 256)
        self.embedding = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2))

    def terms(self, batch: Batch) -> Terms:
        """``meta_train``, ``alignment`` and ``metric``; only ``meta_train`` if the batch contains a single domain."""
        domains = batch.domains.unique()
        held = int(domains[int(torch.randint(len(domains), ()))])
        if len(domains) == 1:
            return {"meta_train": self.classifier(batch.inputs, batch.targets)}
        train, view = batch.domains != held, _View(self.classifier)
        parameters = {name: p for name, p in view.named_parameters() if p.requires_grad}
        meta_train = self.classifier(batch.inputs[train], batch.targets[train])
        moved = inner_step(parameters, meta_train, self.inner_rate, clip=self.clip)
        features, logits = functional_call(view, moved, (batch.inputs,))
        embedded = self.embedding(features)
        with torch.autocast(batch.inputs.device.type, enabled=False):
            logits, embedded = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (logits, embedded))
            return {
                "meta_train": meta_train,
                "alignment": self.alignment * self.misalignment(logits, batch, held),
                "metric": self.metric * semi_hard_triplets(embedded, batch.targets, self.margin),
            }

    def misalignment(self, logits: Tensor, batch: Batch, held: int) -> Tensor:
        """Logits ``[B, K]`` -> the mean distance between the soft labels of domain `held` and each other domain."""
        means = {
            domain: class_means(logits[batch.domains == domain], batch.targets[batch.domains == domain])
            for domain in batch.domains.unique().tolist()
        }
        own = means.pop(held)
        return torch.stack([confusion_distance(own, other, self.temperature) for other in means.values()]).mean()


class _View(nn.Module):
    """A module that returns features and logits of a classifier in one call, for `functional_call`."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.classifier.features(inputs)
        return features, self.classifier.objective.logits(self.classifier.dropout(features))


def class_means(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits ``[B, K]``, class indices ``[B]`` -> mean logits of each class, ``[K, K]``; NaN for absent classes."""
    member = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    counts = member.sum(dim=0)[:, None]
    return (member.T @ logits / counts.clamp(min=1)).masked_fill(counts == 0, torch.nan)


def confusion_distance(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """The symmetric Kullback-Leibler divergence of two domains' soft labels, averaged over the K classes; a scalar.

    Args:
        first: mean logits of each class in one domain, ``[K, K]``; rows of NaN are skipped.
        second: the same for another domain.
        temperature: divisor of the logits.
    """
    common = ~(first.isnan() | second.isnan()).any(dim=1)
    logs = [(means[common] / temperature).log_softmax(dim=1) for means in (first, second)]
    # KL(p, q) + KL(q, p) = sum of (p - q) (log p - log q)
    both = ((logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])).sum()
    return both / 2 / len(first)
