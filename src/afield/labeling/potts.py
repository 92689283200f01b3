"""Exact marginals of Potts chains: neighbors in a sequence tend to be of one class."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class PottsChains:
    """Sequences of variables ``y_t`` with ``P(y) ~ prod_t p_t(y_t) prod_t exp(coupling [y_t = y_(t+1)])``.

    Marginals are exact (forward-backward). When a variable is observed, messages are sent from it in both directions
    until they change no more, so that a label costs little in a long sequence.

    Args:
        probabilities: ``p``, of all sequences, one after the other, ``[N, K]``.
        sequences: the sequence of each row, ``[N]``; rows of a sequence are neighbors.
        coupling: how much more probable equal neighbors are, as a logarithm; 0 leaves the rows independent.

    Attributes:
        marginals: ``P(y_t)``, ``[N, K]``.

    References:
        Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 1989, section III.
    """

    def __init__(self, probabilities: Floats, sequences: NDArray[np.int64], coupling: float) -> None:
        self._local = np.array(probabilities, dtype=np.float64)
        self._links = np.where(sequences[1:] == sequences[:-1], math.expm1(coupling), 0.0)
        self._forward, self._backward = np.ones_like(self._local), np.ones_like(self._local)
        for t in range(len(self._links)):
            self._forward[t + 1] = self._message(t, self._forward, self._links[t])
        for t in range(len(self._links), 0, -1):
            self._backward[t - 1] = self._message(t, self._backward, self._links[t - 1])
        self.marginals = np.empty_like(self._local)
        self._update(0, len(self._local))

    def observe(self, t: int, label: int) -> tuple[int, int]:
        """Fix the class of row t. Returns the rows whose marginals changed: the first, and the one after the last."""
        self._local[t] = 0
        self._local[t, label] = 1
        stop, start = t, t
        while stop < len(self._links) and self._changed(stop, stop + 1, self._forward, self._links[stop]):
            stop += 1
        while start > 0 and self._changed(start, start - 1, self._backward, self._links[start - 1]):
            start -= 1
        self._update(start, stop + 1)
        return start, stop + 1

    def _message(self, t: int, arriving: Floats, link: float) -> Floats:
        """What row t tells a neighbor, from what arrives from its other side: ``1 + (exp(coupling) - 1) a``."""
        belief = self._local[t] * arriving[t]
        return 1 + link * belief / belief.sum()

    def _changed(self, t: int, neighbor: int, arriving: Floats, link: float) -> bool:
        message = self._message(t, arriving, link)
        if np.allclose(message, arriving[neighbor], rtol=1e-12, atol=0):
            return False
        arriving[neighbor] = message
        return True

    def _update(self, start: int, stop: int) -> None:
        product = self._local[start:stop] * self._forward[start:stop] * self._backward[start:stop]
        self.marginals[start:stop] = product / product.sum(axis=1, keepdims=True)
