"""The objective of each domain in a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from afield.algorithms.algorithm import Batch
from afield.classifier import Classifier


class Risks(NamedTuple):
    """Of the domains that a batch holds.

    Attributes:
        domains: their indices, ``[G]``, ascending.
        values: the objective over each one's examples, ``[G]``.
        slopes: its derivative by a factor on the logits, at 1, ``[G]``, which can be differentiated itself; zeros
            unless asked for.
    """

    domains: Tensor
    values: Tensor
    slopes: Tensor


def domain_risks(classifier: Classifier, batch: Batch, *, slopes: bool = False) -> Risks:
    """The objective of each domain, from one pass over the batch; its slopes, if IRM asks for them."""
    domains, groups = batch.domains.unique(return_inverse=True)
    embedded = classifier.embed(batch.inputs)
    factors = torch.ones(len(domains), device=embedded.device, dtype=embedded.dtype, requires_grad=slopes)
    scale = factors[groups] if slopes else None
    risks = classifier.objective.risks(embedded, batch.targets, groups, len(domains), scale=scale)
    if not slopes:
        return Risks(domains, risks, torch.zeros_like(factors))
    (found,) = torch.autograd.grad(risks.sum(), factors, create_graph=True)
    return Risks(domains, risks, found)
