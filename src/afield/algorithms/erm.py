"""ERM: minimizes the objective on all domains together."""

from afield.algorithms.algorithm import Algorithm
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register("erm", reference="Vapnik, Statistical Learning Theory, 1998.")
class ERM(Algorithm):
    """Minimizes the objective on all domains together (DeepAll).

    This is empirical risk minimization on batches of all domains.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.

    References:
        Vapnik, "Statistical Learning Theory", 1998.
    """
