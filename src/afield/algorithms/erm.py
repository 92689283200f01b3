"""ERM: minimizes the objective on all domains together."""

from __future__ import annotations

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register("erm", reference="Vapnik, Statistical Learning Theory, 1998.")
class ERM(Algorithm):
    """Minimizes the objective on all domains together (DeepAll).

    Empirical risk minimization: the objective on batches of all domains together (DeepAll).

    Args:
        classifier: trained in place.
        domain_sizes: not used.

    References:
        Vapnik, "Statistical Learning Theory", 1998.
    """
