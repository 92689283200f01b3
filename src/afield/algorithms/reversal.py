"""Gradients that change on their way back."""

from __future__ import annotations

from torch import Tensor


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself; its gradient is multiplied by ``factor``, so that a negative one reverses it.

    A network behind it minimizes a loss that, with a negative factor, what lies before it maximizes.

    References:
        Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, section 3.1.
    """
    still = x.detach()
    return still + factor * (x - still)
