"""Verdicts on published numbers, with reasons. Does not import torch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afield.evaluation import Estimate

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN = "reproduced", "not reproduced", "not comparable", "not run"

NO_DIFFERENCE = 0.02
"""A claim of no difference between two methods holds if the whole interval lies within two points of zero."""


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


def judge_difference(published: float, ours: Estimate | None, *, tolerance: float = 0.0) -> Verdict:
    """Judge whether our difference has the direction of the claimed difference. Its size is not compared.

    Args:
        published: published difference. Its sign is the claim.
        ours: our paired difference over seeds; None if it was not run.
        tolerance: largest published difference that is a claim of no difference; see `NO_DIFFERENCE`.
    """
    if ours is None:
        return Verdict(NOT_RUN)
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
    return Verdict(REPRODUCED) if (low > 0) == (published > 0) else Verdict(NOT_REPRODUCED, "opposite direction")


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
