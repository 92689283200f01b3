"""RSC: masks the features that contribute most to the prediction."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Uniform
from afield.validation import check_within


@ALGORITHMS.register("rsc", reference="Huang et al., Self-Challenging Improves Cross-Domain Generalization, ECCV 2020.")
class RSC(Algorithm):
    """Masks the features that contribute most to the prediction.

    In each example, a fraction of the features is masked: the features with the largest gradient of the target's
    logit. The mask is applied to a fraction of the batch: the examples whose target probability it decreases most.

    It is made for a backbone that trains. With `--freeze` it does harm: the gradient of a linear head is the class
    vector, the same for all images of a class, so that always the same features are masked, and no backbone learns
    others in their place. The head then relies on the weaker features only.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        features: fraction of the D features to mask, 1/3 in the paper.
        examples: fraction of the batch to mask, 1/3 in the paper.

    Raises:
        ValueError: if a fraction is outside [0, 1).

    References:
        Huang et al., "Self-Challenging Improves Cross-Domain Generalization", ECCV 2020, algorithm 1, on the pooled
        features, as in DomainBed. The authors' code randomly masks either channels or positions of the last feature
        map, and increases the fractions during training. The numbers of masked features and examples are rounded
        fractions; DomainBed compares with a percentile, and masks one more of 3 n + 1 at its default.
    """

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        features: Annotated[float, Uniform(0, 0.5)] = 1 / 3,
        examples: Annotated[float, Uniform(0, 0.5)] = 1 / 3,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1)", features=features, examples=examples)
        self.feature_fraction, self.example_fraction = features, examples

    def terms(self, batch: Batch) -> Terms:
        """``objective`` on the masked features."""
        features = self.classifier.features(batch.inputs)
        kept = self.kept(features.detach(), batch.targets)
        return {"objective": self.classifier.objective(self.classifier.dropout(features * kept), batch.targets)}

    def kept(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, targets -> mask ``[B, D]``: 0 for masked features, otherwise 1."""
        objective = self.classifier.objective
        one_hot = targets if targets.is_floating_point() else F.one_hot(targets, self.classifier.num_classes)
        with torch.enable_grad():
            leaf = features.requires_grad_()
            logits = objective.logits(leaf)
            (slopes,) = torch.autograd.grad((logits * one_hot).sum(), leaf)
        with torch.no_grad():
            count = round(self.feature_fraction * features.shape[1])
            masked = torch.ones_like(features).scatter_(1, slopes.topk(count, dim=1).indices, 0.0)
            loss = (logits.softmax(1) - objective.logits(features * masked).softmax(1)).mul(one_hot).sum(dim=1)
            chosen = loss.topk(round(self.example_fraction * len(features))).indices
            kept = torch.ones_like(features)
            kept[chosen] = masked[chosen]
        return kept
