"""Which adaptation to use and which accuracy to expect, as the training domains say that played the new place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from afield.adaptation.calibration import CANDIDATES, METHODS, SIZES, Candidate, Play, with_images

LARGEST_LOSS = 0.01
"""What an adaptation may cost on the training domain that it suits least, as a fraction."""

SMALLEST_GAIN = 0.005
"""What it must gain on average over the training domains."""

TIE = 0.02
"""Average gains that differ by less are too noisy, over a few domains, to be told apart."""


@dataclass(frozen=True)
class Choice:
    """An adaptation and why it is taken.

    Attributes:
        candidate: what was chosen; without names, the model stays as it is.
        gains: on each training domain that played the new place, in fractions; empty if none did.
        reason: a sentence.
    """

    candidate: Candidate
    gains: Mapping[str, float]
    reason: str


def choose(plays: Sequence[Play], images: int, names: Sequence[str] | None = None) -> Choice:
    """The adaptation that gained most on average where the training domains played the new place, up to a `TIE`.

    It leaves the model as it is where there are too few images, where nothing gains `SMALLEST_GAIN` on average, and
    where the domains disagree: the best adaptation costs one of them more than `LARGEST_LOSS`, and so does every other
    that gains.

    Args:
        plays: of all training domains.
        images: number of unlabeled images in the new place.
        names: considers these adaptations alone, and takes them whatever they gained.
    """
    found = with_images(plays, images)
    if not found:
        few = f"{images} images are too few; {SIZES[0]} are the least that was tried on the training domains"
        return Choice(Candidate(), {}, few)
    gains = {candidate: [each.gains[candidate.key] for each in found] for candidate in CANDIDATES}
    considered = [each for each in CANDIDATES if names is None or each.names == tuple(names)]
    gaining = sorted(considered, key=lambda each: _mean(gains[each]), reverse=True)
    safe = [each for each in gaining if min(gains[each]) >= -LARGEST_LOSS]
    best = _preferred(safe, gains) if safe and names is None else gaining[0]
    by_domain = {each.domain: gain for each, gain in zip(found, gains[best], strict=True)}
    told = f"{100 * _mean(gains[best]):+.1f} points on average where training domains played the new place"
    told += f" ({', '.join(f'{domain} {100 * gain:+.1f}' for domain, gain in by_domain.items())})"
    if names is not None or (safe and _mean(gains[best]) >= SMALLEST_GAIN):
        return Choice(best, by_domain, told)
    why = "the training domains disagree" if _mean(gains[best]) >= SMALLEST_GAIN else "nothing helped enough"
    return Choice(Candidate(), by_domain, f"{why}: {best.text} changed {told}")


def _preferred(candidates: Sequence[Candidate], gains: Mapping[Candidate, Sequence[float]]) -> Candidate:
    """Of the candidates that gain as much as the best, up to a tie, the one of the method that is named first."""
    least = max(_mean(gains[each]) for each in candidates) - TIE
    tied = [each for each in candidates if _mean(gains[each]) >= least]
    return min(tied, key=lambda each: (METHODS.index(each.names), -_mean(gains[each])))


@dataclass(frozen=True)
class Forecast:
    """The accuracy to expect in the new place.

    Attributes:
        accuracy: as a fraction.
        low: lower end of the interval, None without one.
        high: upper end.
        method: name of the forecast.
        error: mean absolute error of this forecast where the training domains played the new place, as a fraction.
        note: why there is no interval, or why it says little; empty otherwise.
    """

    accuracy: float
    low: float | None
    high: float | None
    method: str
    error: float | None
    note: str


LEVEL = 0.9
WIDE = 0.6
"""An interval wider than this says little."""


def forecast(values: Mapping[str, float], plays: Sequence[Play], images: int, why_none: str = "") -> Forecast:
    """The forecast whose error was smallest where the training domains played the new place, with its interval.

    The interval holds the true accuracy with a probability of `LEVEL`, if the error in the new place is drawn from a
    normal distribution around 0 with the spread of the errors on the training domains (Student's t, a degree of
    freedom for each domain), to which the chance of drawing these images of the place is added.

    Args:
        values: forecasts by name, the most trusted one first.
        plays: of all training domains; empty if they could not play.
        images: number of unlabeled images.
        why_none: a sentence that says why there are no plays.
    """
    found = with_images(plays, images)
    if len(found) < 2:
        name, value = next(iter(values.items()))
        few = f"{images} images are too few to know how far off it is" if plays else why_none
        return Forecast(value, None, None, name, None, f"no interval: {few}")
    errors = {name: [each.errors(name) for each in found] for name in values}
    sizes = {name: _mean([abs(e) for one in errors[name] for e in one]) for name in values}
    name = min(sizes, key=lambda each: sizes[each])
    variance = _mean([e**2 for one in errors[name] for e in one]) + values[name] * (1 - values[name]) / images
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(found))) * math.sqrt(variance)
    low, high = max(values[name] - half, 0.0), min(values[name] + half, 1.0)
    note = "the interval is so wide that the forecast says little" if high - low > WIDE else ""
    return Forecast(values[name], low, high, name, sizes[name], note)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
