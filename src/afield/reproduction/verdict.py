"""Verdicts on published numbers, with reasons. Does not import torch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afield.evaluation import Estimate

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN = "reproduced", "not reproduced", "not comparable", "not run"

NO_DIFFERENCE = 0.02
"""A claim of no difference between two methods holds if the whole interval lies within two points of zero."""

NEAR_CHANCE = 1.5
"""A metric below this multiple of its value for random guesses is near chance."""


class Verdict(NamedTuple):
    """The name of a verdict, one of the four above, and its reason, which can be empty."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.why})" if self.why else self.name


def judge_value(published: float, ours: Estimate | None, differences: Sequence[str]) -> Verdict:
    """Judge whether a published value lies in our 95 % interval. It is not comparable if the setups differ.

    Args:
        published: published value in the unit of `ours`.
        ours: our estimate over seeds; None if it was not run.
        differences: differences between the setups that affect the value, as text.
    """
    if ours is None:
        return Verdict(NOT_RUN)
    if differences:
        return Verdict(NOT_COMPARABLE, "; ".join(differences))
    if ours.ci95 is None:
        return Verdict(NOT_COMPARABLE, "no interval with fewer than three seeds")
    low, high = ours.ci95
    return Verdict(REPRODUCED if low <= published <= high else NOT_REPRODUCED)


def judge_difference(
    published: float, ours: Estimate | None, *, tolerance: float = 0.0, hollow: str = "", setups: str = ""
) -> Verdict:
    """Judge whether our difference has the direction of the claimed difference. Its size is not compared.

    Args:
        published: published difference. Its sign is the claim.
        ours: our paired difference over seeds; None if it was not run.
        tolerance: largest published difference that is a claim of no difference; see `NO_DIFFERENCE`.
        hollow: why a difference to this rival says nothing, as text; see `untrained`.
        setups: the setups on which the claim holds, as text; see `holds_on`.
    """
    if ours is None:
        return Verdict(NOT_RUN)
    if hollow:
        return Verdict(NOT_COMPARABLE, hollow)
    if ours.ci95 is None:
        return Verdict(NOT_COMPARABLE, "no interval with fewer than three seeds")
    low, high = ours.ci95
    if abs(published) <= tolerance:
        if low >= -NO_DIFFERENCE and high <= NO_DIFFERENCE:
            return Verdict(REPRODUCED, "no difference")
        if ours.excludes_zero:
            return Verdict(NOT_REPRODUCED, "significant difference")
        return Verdict(NOT_COMPARABLE, "interval too wide")
    if not ours.excludes_zero:
        return Verdict(NOT_REPRODUCED, "interval contains zero")
    if (low > 0) != (published > 0):
        return Verdict(NOT_REPRODUCED, "opposite direction")
    return Verdict(REPRODUCED, setups)


def untrained(rival: str, value: Estimate | None, chance: float, gain: Estimate | None = None) -> str:
    """Why a difference to a rival says nothing, as text: it is near chance on our setup, or no better than ERM.

    Args:
        rival: name of the rival.
        value: metric of the rival over seeds; None if it was not run.
        chance: value of the metric for random guesses.
        gain: paired difference of the rival to ERM, for a method that its authors found better than ERM.

    Returns:
        The reason; empty if the rival is above chance and, with `gain`, significantly better than ERM.
    """
    if value is not None and value.mean < NEAR_CHANCE * chance:
        return f"{rival} is near chance on our setup: {100 * value.mean:.1f} %, chance is {100 * chance:.1f} %"
    if gain is not None and not (gain.excludes_zero and gain.mean > 0):
        return f"{rival} is not significantly better than ERM on our setup: {100 * gain.mean:+.1f} points"
    return ""


def holds_on(claimed: float, found: Mapping[str, Estimate | None]) -> str:
    """The setups on which the interval of a difference lies on the claimed side of zero, as text.

    Args:
        claimed: claimed difference; only its sign counts.
        found: our difference by setup; None if it was not run.

    >>> better, unclear = Estimate(0.02, 0.01, 3, (0.01, 0.03)), Estimate(0.02, 0.03, 3, (-0.05, 0.09))
    >>> holds_on(0.5, {"PACS": better, "CIFAR-10": unclear, "digits": None})
    'on 1 of 2 setups: PACS'
    """
    run = {setup: each for setup, each in found.items() if each is not None}
    where = [setup for setup, each in run.items() if each.excludes_zero and (each.mean > 0) == (claimed > 0)]
    count = "the only setup" if len(run) == 1 else f"{len(where)} of {len(run)} setups"
    return f"on {count}: {', '.join(where)}"


def differences(config: Mapping[str, Any], protocol: Mapping[str, Any]) -> list[str]:
    """List the differences between the configuration of a run and the setup of a paper, as text.

    Args:
        config: configuration of a run, nested.
        protocol: values of the paper by dotted path, such as ``{"training.epochs": 30}``.

    >>> differences({"training": {"epochs": 12}}, {"training.epochs": 30})
    ['epochs 12, not 30']
    """
    found = []
    for path, wanted in protocol.items():
        value: Any = config
        for step in path.split("."):
            value = value[step]
        if value != wanted:
            found.append(f"{_name(path)} {_said(value)}, not {_said(wanted)}")
    return found


def _name(path: str) -> str:
    """The text for a dotted path, without ``name``, ``training`` and ``data``."""
    owner, _, field = path.rpartition(".")
    words = owner if field == "name" else field if owner in ("", "training", "data") else f"{owner} {field}"
    return words.replace("_", " ")


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
