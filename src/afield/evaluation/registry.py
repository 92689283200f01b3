"""The registry of the metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A metric of predictions, and how to compare and to show its values.

    Attributes:
        function: maps logits ``[N, K]``, labels ``[N]`` and the keyword `weight` to a value; see
            `afield.evaluation.metrics`.
        title: name in tables.
        highest: upper end of its range, which starts at 0.
        percent: whether values are shown in percent.
        lower_is_better: whether a smaller value is better.
        by_domain: whether the function also takes `domains`, ``[N]``. The value of several domains is then the worst,
            not the mean.
    """

    function: Callable[..., Any]
    title: str
    highest: float = 1.0
    percent: bool = True
    lower_is_better: bool = False
    by_domain: bool = False

    def __call__(
        self, logits: NDArray, labels: NDArray, domains: NDArray | None = None, weight: NDArray | None = None
    ) -> Any:
        """The value, or values ``[B]`` for weights ``[B, N]``."""
        if self.by_domain:
            return self.function(logits, labels, domains, weight=weight)
        return self.function(logits, labels, weight=weight)

    @property
    def sign(self) -> int:
        """1 if a larger value is better, otherwise -1."""
        return -1 if self.lower_is_better else 1

    @property
    def factor(self) -> float:
        """Factor of shown values: 100 for percent, otherwise 1."""
        return 100.0 if self.percent else 1.0

    @property
    def unit(self) -> str:
        """Unit of shown values, after a comma: ``, %`` or nothing."""
        return ", %" if self.percent else ""

    def text(self, value: float, sign: str = "") -> str:
        """A value as text: in percent with one decimal, or with three decimals."""
        return f"{self.factor * value:{sign}.{1 if self.percent else 3}f}"

    def over_domains(self, values: list[float]) -> float:
        """The value of a recipe from those of the unseen domains: their mean, or the worst if it is `by_domain`."""
        return float(min(values) if self.by_domain else np.mean(values))


class MetricRegistry(Registry[Metric]):
    """Metrics by name. The arguments of `register` after the reference are fields of `Metric`."""

    def __init__(self) -> None:
        super().__init__("metric")

    def add(self, name: str, value: Any, *, summary: str, reference: str = "-", **traits: Any) -> Any:
        """Register a function; see `Registry.add`."""
        super().add(name, Metric(value, **traits), summary=summary, reference=reference)
        return value


METRICS = MetricRegistry()
