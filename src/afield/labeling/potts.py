"""Exact marginals of Potts chains, in which neighbors tend to have the same class."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class PottsChains:
    """Sequences of variables ``y_t`` with ``P(y) ~ prod_t p_t(y_t) prod_t exp(coupling [y_t = y_(t+1)])``.

    Marginals are exact (forward-backward algorithm). If a variable is observed, messages are updated from it in both
    directions until they no longer change, so that an update is fast in a long sequence.

    Args:
        probabilities: ``p`` of all sequences, concatenated, ``[N, K]``.
        sequences: sequence of each row, ``[N]``; the rows of a sequence are consecutive.
        coupling: log factor by which equal neighbors are more probable; 0 makes the rows independent.

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
        """Fix the class of row t. Returns the range of rows with changed marginals, first row and last row + 1."""
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
        """Message from row t to a neighbor, given the message from the other side: ``1 + (exp(coupling) - 1) a``."""
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
