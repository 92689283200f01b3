"""Forecast of the accuracy of a model in a new place, and detection of unusual images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from afield.adaptation import FeatureStatistics, SourceStatistics, with_backbone
from afield.adaptation.calibration import forecast_all
from afield.adaptation.choice import Forecast, forecast
from afield.deploy.model import Model
from afield.deploy.place import Place
from afield.deploy.source import Source
from afield.names import shown

OFTEN = 2.0
"""A class is predicted far more often than before if its fraction increases by at least this factor and by `MORE`."""

MORE = 0.05
UNUSUAL = 12


@dataclass(frozen=True)
class Expected:
    """The expected results of a model in a new place.

    Attributes:
        place: name of the folder.
        images: number of images.
        forecast: forecast of the accuracy.
        forecasts: forecasts of all methods, by name.
        unlike: distance between the mean features and those of the training images, in units of the mean distance of a
            training domain from the others. None for a single training domain.
        more_often: for each class that is predicted far more often, its fraction of the predictions and of the training
            images.
        unusual: files with the largest distance from all training domains, the most unusual first.
    """

    place: str
    images: int
    forecast: Forecast
    forecasts: Mapping[str, float]
    unlike: float | None
    more_often: Mapping[str, tuple[float, float]]
    unusual: Sequence[Path]


def forecast_place(model: Model, place: Place, source: Source) -> Expected:
    """Forecast the results of a model in a place.

    Args:
        model: trained model.
        place: unlabeled images of the place.
        source: statistics of the training data.
    """
    classifier = with_backbone(model.classifier, nn.Identity())
    values = forecast_all(classifier, place.features, source.statistics, source.reference)
    with torch.no_grad():
        predicted = classifier.logits(place.features).argmax(dim=1)
    shares = predicted.bincount(minlength=len(model.class_names)) / len(predicted)
    priors = source.statistics.priors
    often = (shares >= OFTEN * priors) & (shares >= priors + MORE)
    order = source.statistics.distances(place.features).argsort(descending=True, stable=True)[:UNUSUAL]
    return Expected(
        place=place.name,
        images=len(place.files),
        forecast=forecast(values, source.plays, len(place.files), source.why_no_plays),
        forecasts=values,
        unlike=unlikeness(place.features, source.statistics),
        more_often={model.class_names[k]: (float(shares[k]), float(priors[k])) for k in np.flatnonzero(often)},
        unusual=[place.files[row] for row in order.tolist()],
    )


def sentences(expected: Expected) -> list[str]:
    """Sentences on the expected accuracy in a new place with its interval, and on unusual classes and images."""
    found = expected.forecast
    line = f"expected accuracy at {expected.place}: {100 * found.accuracy:.0f} %"
    if found.low is not None and found.high is not None:
        line += f" [{100 * found.low:.0f}, {100 * found.high:.0f}]"
    line += f"; method {found.method}"
    if found.error is not None:
        line += f", mean absolute error {100 * found.error:.1f} points on the training domains"
    lines = [line, *([found.note] if found.note else [])]
    if expected.unlike is not None:
        lines.append(
            f"distance from the training domains: {expected.unlike:.1f} times the distance of a training domain from "
            "the others"
        )
    for name, (share, prior) in expected.more_often.items():
        lines.append(
            f"predicted far more often than before: {name}, {100 * share:.0f} % instead of {100 * prior:.0f} %"
        )
    lines.append(f"most unusual: {', '.join(shown(str(path)) for path in expected.unusual[:3])}")
    return lines


def unlikeness(features: Tensor, source: SourceStatistics) -> float | None:
    """The distance of the mean features from those of the training images; see `Expected.unlike`."""
    domains = [*source.domains.values()]
    if len(domains) < 2:
        return None
    rest = [FeatureStatistics.pooled([other for other in domains if other is not one]) for one in domains]
    usual = [_distance(one, others) for one, others in zip(domains, rest, strict=True)]
    return _distance(FeatureStatistics.of(features), source.pooled) * len(usual) / sum(usual)


def _distance(one: FeatureStatistics, other: FeatureStatistics) -> float:
    return float(((one.mean - other.mean) / other.std).square().mean().sqrt())
