"""Selection of an adaptation and a forecast of accuracy, based on training domains that played the new place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from afield.adaptation.calibration import CANDIDATES, METHODS, SIZES, Candidate, Play, with_images

LARGEST_LOSS = 0.01
"""Largest accuracy loss that an adaptation may cause on a training domain, as a fraction."""

SMALLEST_GAIN = 0.005
"""Smallest mean gain over the training domains that an adaptation needs, as a fraction."""

TIE = 0.02
"""Mean gains that differ by less than this count as equal, because a mean over a few domains is noisy."""


@dataclass(frozen=True)
class Choice:
    """A selected adaptation with the reason for it.

    Attributes:
        candidate: selected adaptation; without names, the model is unchanged.
        gains: gain on each training domain that played the new place, as a fraction; empty if no domain played it.
        reason: reason for the selection, a sentence.
    """

    candidate: Candidate
    gains: Mapping[str, float]
    reason: str


def choose(plays: Sequence[Play], images: int, names: Sequence[str] | None = None) -> Choice:
    """Select the adaptation with the largest mean gain on the training domains that played the new place.

    Mean gains within `TIE` of the largest count as equal; the order of `METHODS` then decides. The model is unchanged
    if there are too few images, or if no adaptation gains `SMALLEST_GAIN` on average. It is also unchanged if the
    domains disagree: every adaptation with a sufficient mean gain loses more than `LARGEST_LOSS` on some domain.

    Args:
        plays: plays of all training domains.
        images: number of unlabeled images of the new place.
        names: select these adaptations, whatever their gain.
    """
    found = with_images(plays, images)
    if not found:
        few = f"{images} images are too few; at least {SIZES[0]} are needed"
        return Choice(Candidate(), {}, few)
    gains = {candidate: [each.gains[candidate.key] for each in found] for candidate in CANDIDATES}
    considered = [each for each in CANDIDATES if names is None or each.names == tuple(names)]
    gaining = sorted(considered, key=lambda each: _mean(gains[each]), reverse=True)
    safe = [each for each in gaining if min(gains[each]) >= -LARGEST_LOSS]
    best = _preferred(safe, gains) if safe and names is None else gaining[0]
    by_domain = {each.domain: gain for each, gain in zip(found, gains[best], strict=True)}
    told = f"{100 * _mean(gains[best]):+.1f} points on average on the training domains that played the new place"
    told += f" ({', '.join(f'{domain} {100 * gain:+.1f}' for domain, gain in by_domain.items())})"
    if names is not None or (safe and _mean(gains[best]) >= SMALLEST_GAIN):
        return Choice(best, by_domain, told)
    why = "the training domains disagree" if _mean(gains[best]) >= SMALLEST_GAIN else "no method gained enough"
    return Choice(Candidate(), by_domain, f"{why}: {best.text} changed the accuracy by {told}")


def _preferred(candidates: Sequence[Candidate], gains: Mapping[Candidate, Sequence[float]]) -> Candidate:
    """Among the candidates within `TIE` of the best mean gain, return one of the method that is first in `METHODS`."""
    least = max(_mean(gains[each]) for each in candidates) - TIE
    tied = [each for each in candidates if _mean(gains[each]) >= least]
    return min(tied, key=lambda each: (METHODS.index(each.names), -_mean(gains[each])))


@dataclass(frozen=True)
class Forecast:
    """A forecast of the accuracy in the new place.

    Attributes:
        accuracy: expected accuracy, as a fraction.
        low: lower end of the interval; None if there is no interval.
        high: upper end of the interval; None if there is no interval.
        method: name of the forecast method.
        error: mean absolute error of the method on the training domains that played the new place, as a fraction.
        note: reason why there is no interval, or a warning that it is wide; otherwise empty.
    """

    accuracy: float
    low: float | None
    high: float | None
    method: str
    error: float | None
    note: str


LEVEL = 0.9
WIDE = 0.6
"""Intervals wider than this get a warning."""


def forecast(values: Mapping[str, float], plays: Sequence[Play], images: int, why_none: str = "") -> Forecast:
    """Return the forecast with the smallest error on the training domains that played the new place, and its interval.

    The interval contains the true accuracy with probability `LEVEL`, under the assumption that the error in the new
    place has a normal distribution with mean 0 and the spread of the errors on the training domains (Student's t, one
    degree of freedom for each domain). The sampling variance of the images of the place is added.

    Args:
        values: forecasts by name, the most trusted one first.
        plays: plays of all training domains; empty if they could not play the new place.
        images: number of unlabeled images.
        why_none: reason if `plays` is empty, a sentence.
    """
    found = with_images(plays, images)
    if len(found) < 2:
        name, value = next(iter(values.items()))
        few = f"{images} images are too few to estimate its error" if plays else why_none
        return Forecast(value, None, None, name, None, f"no interval: {few}")
    errors = {name: [each.errors(name) for each in found] for name in values}
    sizes = {name: _mean([abs(e) for one in errors[name] for e in one]) for name in values}
    name = min(sizes, key=lambda each: sizes[each])
    variance = _mean([e**2 for one in errors[name] for e in one]) + values[name] * (1 - values[name]) / images
    half = float(stdtrit(len(found), 0.5 + LEVEL / 2)) * math.sqrt(variance)
    low, high = max(values[name] - half, 0.0), min(values[name] + half, 1.0)
    note = "the interval is too wide for a useful forecast" if high - low > WIDE else ""
    return Forecast(values[name], low, high, name, sizes[name], note)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
