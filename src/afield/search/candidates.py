"""Proposal of candidate policies by Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from afield.augment import Policy
from afield.augment.policies.policy import OPERATIONS, PLAIN, Step
from afield.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STEPS = 2
"""Number of operations of a sub-policy."""

SEARCHED = tuple(name for name in OPERATIONS if name != "identity")

BINS = Policy.bins


def propose(tried: Sequence[tuple[Policy, float]], sub_policies: int, seed: int) -> Policy:
    """Propose the next candidate. It depends only on the previous candidates, their losses, and the seed.

    The search space is that of the paper: two operations per sub-policy, each with a name, a probability (in steps of
    0.01) and, if the operation has one, a magnitude (of 31). `tried` are candidates that this function proposed.

    Raises:
        InputError: if Optuna is not installed.

    References:
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
    """
    optuna = require_optuna()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
    study.add_trials([_replayed(policy, loss) for policy, loss in tried])
    trial = study.ask()
    steps = []
    for place in range(sub_policies * STEPS):
        operation = trial.suggest_categorical(f"operation {place}", SEARCHED)
        probability = trial.suggest_int(f"percent {place}", 0, 100) / 100
        magnitude = 0 if operation in PLAIN else trial.suggest_int(f"magnitude {place}", 0, BINS - 1)
        steps.append(Step(operation, probability, magnitude))
    return Policy(tuple(tuple(steps[i : i + STEPS]) for i in range(0, len(steps), STEPS)), BINS)


def require_optuna() -> Any:
    """Import Optuna and disable its messages.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("the search needs Optuna: pip install 'afield[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _replayed(policy: Policy, loss: float) -> FrozenTrial:
    """The Optuna trial of a candidate that `propose` returned, with its loss."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
    from optuna.trial import create_trial

    values: dict[str, tuple[Any, BaseDistribution]] = {}
    for place, step in enumerate(step for sub_policy in policy.sub_policies for step in sub_policy):
        values[f"operation {place}"] = step.operation, CategoricalDistribution(SEARCHED)
        values[f"percent {place}"] = round(100 * step.probability), IntDistribution(0, 100)
        if step.operation not in PLAIN:
            values[f"magnitude {place}"] = step.magnitude, IntDistribution(0, BINS - 1)
    params, distributions = ({name: pair[i] for name, pair in values.items()} for i in (0, 1))
    return create_trial(params=params, distributions=distributions, value=loss)
