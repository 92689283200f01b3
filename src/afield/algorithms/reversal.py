"""Gradients that change on their way back, and how much of them counts in the course of training."""

from __future__ import annotations

import math

from torch import Tensor


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself; its gradient is multiplied by ``factor``, so that a negative one reverses it.

    A network behind it minimizes a loss that, with a negative factor, what lies before it maximizes.

    References:
        Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, section 3.1.
    """
    still = x.detach()
    return still + factor * (x - still)


def ramp(progress: float) -> float:
    """From 0 to 1 in the course of training, as in Ganin et al., "Domain-Adversarial Training", JMLR 2016."""
    return 2 / (1 + math.exp(-10 * progress)) - 1
