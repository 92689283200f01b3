"""Gradient scaling and reversal, and the schedule of their factor."""

import math

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


def ramp(progress: float) -> float:
    """A factor that rises from 0 to 1 during training, as in Ganin et al., "Domain-Adversarial Training", 2016."""
    return 2 / (1 + math.exp(-10 * progress)) - 1
