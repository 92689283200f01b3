"""Standardizes features by domain during training."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch
from afield.classifier import FeatureNorm
from afield.errors import InputError

EPS = 1e-5
MOMENTUM = 0.1


class DomainFeatureNorm(FeatureNorm):
    """In training, standardizes each feature by the statistics of the rows of its domain in the batch.

    This is batch normalization for each domain, without scale and shift. Rows after the training batch belong
    to the new place, if an algorithm uses such rows, and form a separate domain. In evaluation, this is a plain
    `FeatureNorm` with running statistics of all rows together, until they are replaced by the statistics of one domain.

    Args:
        features: D.

    Raises:
        InputError: if, in training, there are fewer rows than in the batch, because an algorithm computes the features
            of a part of it.

    References:
        Li et al., "Revisiting Batch Normalization for Practical Domain Adaptation", 2016; Chang et al.,
        "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR 2019.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.domains: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """``[B, D]`` -> ``[B, D]``."""
        if not self.training or self.domains is None:
            return super().forward(features)
        more = len(features) - len(self.domains)
        if more < 0:
            raise InputError("standardize supports algorithms that divide batches only with --freeze")
        self._follow(features.detach())
        groups = F.pad(self.domains, (0, more), value=-1)
        member = (groups == groups.unique()[:, None]).to(features.dtype)
        shares = member / member.sum(dim=1, keepdim=True)
        centered = features - member.T @ (shares @ features)
        return centered / (member.T @ (shares @ centered.square()) + EPS).sqrt()

    @torch.no_grad()
    def _follow(self, features: Tensor) -> None:
        self.mean.lerp_(features.mean(dim=0).to(self.mean.dtype), MOMENTUM)
        self.std.lerp_((features.var(dim=0, correction=0) + EPS).sqrt().to(self.std.dtype), MOMENTUM)


def name_domains(algorithm: Algorithm, norm: DomainFeatureNorm) -> None:
    """Pass the domains of each batch of the algorithm to the norm before the forward pass."""

    def note(_: Any, inputs: tuple[Batch]) -> None:
        norm.domains = inputs[0].domains

    algorithm.register_forward_pre_hook(note)
