"""RSC: do without the features that matter most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier


class RSC(Algorithm):
    """The objective, with the features muted by which the target's logit rises most.

    A share of an example's features is muted: those with the largest gradient. This is then kept for a share of the
    batch: the examples that lose most of the target's probability by it.

    Args:
        classifier: trained in place.
        domain_sizes: not used.
        features: share of the D features that are muted, 1/3 in the paper.
        examples: share of the batch, 1/3 in the paper.

    Raises:
        ValueError: a share outside [0, 1).

    References:
        Huang et al., "Self-Challenging Improves Cross-Domain Generalization", ECCV 2020, algorithm 1, on the pooled
        features, as in DomainBed. The authors' code mutes channels or places of the last feature map, by chance, and
        raises the shares in the course of training.
    """

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        features: float = 1 / 3,
        examples: float = 1 / 3,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        if not (0 <= features < 1 and 0 <= examples < 1):
            raise ValueError(f"features and examples must lie in [0, 1), got {features!r} and {examples!r}")
        self.feature_share, self.example_share = features, examples

    def terms(self, batch: Batch) -> Terms:
        """``objective``, on the features that are left."""
        features = self.classifier.features(batch.inputs)
        kept = self.kept(features.detach(), batch.targets)
        return {"objective": self.classifier.objective(self.classifier.dropout(features * kept), batch.targets)}

    def kept(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, targets -> ``[B, D]``: 0 where a feature is muted, else 1."""
        objective = self.classifier.objective
        one_hot = targets if targets.is_floating_point() else F.one_hot(targets, self.classifier.num_classes)
        with torch.enable_grad():
            leaf = features.requires_grad_()
            logits = objective.logits(leaf)
            (slopes,) = torch.autograd.grad((logits * one_hot).sum(), leaf)
        with torch.no_grad():
            count = round(self.feature_share * features.shape[1])
            muted = torch.ones_like(features).scatter_(1, slopes.topk(count, dim=1).indices, 0.0)
            loss = (logits.softmax(1) - objective.logits(features * muted).softmax(1)).mul(one_hot).sum(dim=1)
            chosen = loss.topk(round(self.example_share * len(features))).indices
            kept = torch.ones_like(features)
            kept[chosen] = muted[chosen]
        return kept


ALGORITHMS.add(
    "rsc",
    RSC,
    summary="The objective without the features on which the prediction leans most.",
    reference="Huang et al., Self-Challenging Improves Cross-Domain Generalization, ECCV 2020.",
)
