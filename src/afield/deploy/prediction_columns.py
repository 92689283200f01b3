"""The columns of a file of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from afield.adaptation import SourceStatistics
from afield.deploy.model import Prediction
from afield.names import shown

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """What a file of predictions tells about each image.

    Attributes:
        threshold: probability below which a person looks at the image; None leaves ``review`` empty.
        source: statistics of the training data, for the distance of an image from it; None leaves ``distance`` empty.
        top_k: number of classes with their probabilities.
        embeddings: whether to add the features of the backbone.
    """

    threshold: float | None
    source: SourceStatistics | None
    top_k: int = 1
    embeddings: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        more = [f"{name}_{rank}" for rank in range(2, self.top_k + 1) for name in ("class", "probability")]
        first = ("path", "class", "probability", "margin", "entropy", "distance", "review")
        return (*first, *more, *(("embedding",) if self.embeddings else ()))

    def review(self, probability: float) -> bool | None:
        """Whether a person looks at an image with this probability of its class."""
        return None if self.threshold is None else probability < self.threshold

    def row(self, prediction: Prediction, features: Tensor) -> Row:
        """The row of an image with features ``[D]``."""
        distance = None if self.source is None else float(self.source.distances(features[None])[0])
        ranked = prediction.ranked[1 : self.top_k]
        more: dict[str, Any] = {f"class_{rank}": name for rank, (name, _) in enumerate(ranked, start=2)}
        more |= {f"probability_{rank}": _rounded(value) for rank, (_, value) in enumerate(ranked, start=2)}
        found = {
            "path": shown(prediction.path or ""),
            "class": prediction.label,
            "probability": _rounded(prediction.probability),
            "margin": _rounded(prediction.margin),
            "entropy": _rounded(prediction.entropy),
            "distance": distance and _rounded(distance),
            "review": self.review(_rounded(prediction.probability)),
            **more,
            "embedding": [_rounded(value) for value in features.tolist()] if self.embeddings else None,
        }
        return {name: found[name] for name in self.names}


def _rounded(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")
