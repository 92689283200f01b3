"""Distributions of settings that a sweep draws from. A setting declares its own beside its definition."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DIGITS = 4
"""Significant digits of a drawn number, so that it can be given as an option."""


@dataclass(frozen=True)
class Uniform:
    """Uniform from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)

    def draw(self, generator: "np.random.Generator", default: Any) -> Any:
        """A value; a whole number if the default is one."""
        return _rounded(generator.uniform(self.low, self.high), default)

    def __str__(self) -> str:
        return f"uniform({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm, from `low` to `high`, both above 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order(self.low, self.high, above_zero=True)

    def draw(self, generator: "np.random.Generator", default: Any) -> Any:
        """A value; a whole number if the default is one."""
        return _rounded(_log_uniform(generator, self.low, self.high), default)

    def __str__(self) -> str:
        return f"log_uniform({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Scaled:
    """The default times a factor that is uniform in its logarithm, from `low` to `high`.

    It is for settings whose default depends on the preset, such as the learning rate.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order(self.low, self.high, above_zero=True)

    def draw(self, generator: "np.random.Generator", default: Any) -> Any:
        """A value; a whole number of at least 1 if the default is one."""
        value = _rounded(default * _log_uniform(generator, self.low, self.high), default)
        return max(1, value) if isinstance(value, int) else value

    def __str__(self) -> str:
        return f"scaled({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Choice:
    """One of the values, each with the same probability."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs at least one value")

    def draw(self, generator: "np.random.Generator", default: Any) -> Any:
        """A value."""
        return self.values[int(generator.integers(len(self.values)))]

    def __str__(self) -> str:
        return f"choice({', '.join(map(str, self.values))})"


Distribution = Uniform | LogUniform | Scaled | Choice

KINDS: dict[str, Callable[[float, float], Distribution]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "scaled": Scaled,
}

FORMS = "uniform(LOW, HIGH), log_uniform(LOW, HIGH), scaled(LOW, HIGH), choice(VALUE, VALUE, ...)"


def read_distribution(text: str) -> Distribution:
    """The distribution in a text such as ``log_uniform(1e-4, 0.1)`` or ``choice(32, 64)``.

    >>> read_distribution("log_uniform(1e-4, 0.1)")
    LogUniform(low=0.0001, high=0.1)

    Raises:
        ValueError: if the text has none of the `FORMS`, or the bounds are not in order.
    """
    match = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text)
    parts = [part.strip() for part in match[2].split(",")] if match else []
    if match and match[1] == "choice" and all(parts):
        return Choice(tuple(map(_value, parts)))
    try:
        low, high = map(float, parts)
        kind = KINDS[match[1]] if match else None
    except (KeyError, ValueError):
        kind = None
    if kind is None:
        raise ValueError(f"a distribution must be one of {FORMS}, got {text!r}")
    return kind(low, high)


def _value(text: str) -> Any:
    """A number, or text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check_order(low: float, high: float, *, above_zero: bool = False) -> None:
    least = "0 < " if above_zero else ""
    if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not above_zero)):
        raise ValueError(f"the bounds must be {least}LOW < HIGH, got {low:g} and {high:g}")


def _log_uniform(generator: "np.random.Generator", low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def _rounded(value: float, default: Any) -> float | int:
    if isinstance(default, int) and not isinstance(default, bool):
        return round(value)
    return float(f"{value:.{DIGITS}g}")
