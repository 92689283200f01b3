"""The objective of each domain in a batch."""

from typing import NamedTuple

import torch
from torch import Tensor

from afield.algorithms.algorithm import Batch
from afield.classifier import Classifier


class Risks(NamedTuple):
    """The risks of the domains in a batch.

    Attributes:
        domains: domain indices, ``[G]``, ascending.
        values: objective on the examples of each domain, ``[G]``.
        slopes: derivative of the objective with respect to a scale on the logits, at scale 1, ``[G]``. It is
            differentiable. Zeros if the slopes are not requested.
    """

    domains: Tensor
    values: Tensor
    slopes: Tensor


def domain_risks(
    classifier: Classifier, batch: Batch, *, slopes: bool = False, embedded: Tensor | None = None
) -> Risks:
    """The objective of each domain in one forward pass, and its slope if `slopes` is set (needed by IRM).

    `embedded` are the features of the batch for the objective, ``[B, D]``, if they are known.
    """
    domains, groups = batch.domains.unique(return_inverse=True)
    embedded = classifier.embed(batch.inputs) if embedded is None else embedded
    factors = torch.ones(len(domains), device=embedded.device, dtype=embedded.dtype, requires_grad=slopes)
    scale = factors[groups] if slopes else None
    risks = classifier.objective.risks(embedded, batch.targets, groups, len(domains), scale=scale)
    if not slopes:
        return Risks(domains, risks, torch.zeros_like(factors))
    (found,) = torch.autograd.grad(risks.sum(), factors, create_graph=True)
    return Risks(domains, risks, found)
