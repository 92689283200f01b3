"""Deep CORAL: aligns means and covariances of features across the training domains and the unlabeled new place."""

from afield.algorithms.coral import CORAL
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register("deep_coral", reference="Sun and Saenko, Deep CORAL, ECCV 2016 workshops.")
class DeepCORAL(CORAL):
    """Like coral, with the unlabeled new place as an additional domain.

    A single training domain is sufficient, as in the paper. See `CORAL`.

    Args:
        classifier: model to train, in place.
        domain_sizes: sizes of the training domains.
        penalty: factor of the distance; see `CORAL`.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Sun and Saenko, "Deep CORAL", ECCV 2016 workshops, equations 1 to 3.
    """

    domains_at_least = 1
    needs = "layers"
    soft_targets = False
    uses_target = True
