"""Verdicts on published numbers, with reasons. Pure functions, free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afield.evaluation import Estimate

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN = "reproduced", "not reproduced", "not comparable", "not run"

NO_DIFFERENCE = 0.02
"""A claim that two methods do equally well holds where the whole interval lies within two points of zero."""


class Verdict(NamedTuple):
    """A name, one of the four above, and why; the reason is empty where the name says it all."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.why})" if self.why else self.name


def judge_value(published: float, ours: Estimate | None, differences: Sequence[str]) -> Verdict:
    """Whether a published value lies in our 95 % interval; not comparable where the set-ups differ.

    Args:
        published: in the unit of `ours`.
        ours: over seeds; None where it was not run.
        differences: of the set-ups, in words, as far as they change the value.
    """
    if ours is None:
        return Verdict(NOT_RUN)
    if differences:
        return Verdict(NOT_COMPARABLE, "; ".join(differences))
    if ours.ci95 is None:
        return Verdict(NOT_COMPARABLE, "one seed gives no interval")
    low, high = ours.ci95
    return Verdict(REPRODUCED if low <= published <= high else NOT_REPRODUCED)


def judge_difference(published: float, ours: Estimate | None, *, tolerance: float = 0.0) -> Verdict:
    """Whether a difference that a paper claims is there with us too, on our set-up: its direction, not its size.

    Args:
        published: the difference that the paper prints; its sign is the claim.
        ours: the paired difference over seeds; None where it was not run.
        tolerance: published differences of at most this are a claim of no difference, see `NO_DIFFERENCE`.
    """
    if ours is None:
        return Verdict(NOT_RUN)
    if ours.ci95 is None:
        return Verdict(NOT_COMPARABLE, "one seed gives no interval")
    low, high = ours.ci95
    if abs(published) <= tolerance:
        if low >= -NO_DIFFERENCE and high <= NO_DIFFERENCE:
            return Verdict(REPRODUCED, "no difference")
        if low > 0 or high < 0:
            return Verdict(NOT_REPRODUCED, "significant difference")
        return Verdict(NOT_COMPARABLE, "interval too wide")
    if low <= 0 <= high:
        return Verdict(NOT_REPRODUCED, "interval contains zero")
    return Verdict(REPRODUCED) if (low > 0) == (published > 0) else Verdict(NOT_REPRODUCED, "opposite direction")


def differences(config: Mapping[str, Any], protocol: Mapping[str, Any]) -> list[str]:
    """Where a run's configuration leaves a paper's protocol, in words.

    Args:
        config: of a run, nested.
        protocol: values by dotted path, as ``{"training.epochs": 30}``.

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
    """A dotted path in words: whose name it is, or what of it."""
    owner, _, field = path.rpartition(".")
    words = owner if field == "name" else field if owner in ("", "training", "data") else f"{owner} {field}"
    return words.replace("_", " ")


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
