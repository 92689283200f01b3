"""Gradient scaling and reversal."""

from __future__ import annotations

from torch import Tensor


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """Return ``x`` unchanged; multiply its gradient by ``factor`` in the backward pass.

    A negative factor reverses the gradient: the layers after this operation minimize the loss, the layers before it
    maximize the loss.

    References:
        Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, section 3.1.
    """
    constant = x.detach()
    return constant + factor * (x - constant)
