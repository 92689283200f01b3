"""Measures adaptations and forecasts: each training domain plays the new place for a model trained without it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from afield.adaptation.chain import Chain, build_adaptation
from afield.adaptation.forecasts import Reference, forecasts
from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.records import decode, seed_for

SIZES = (10, 20, 50, 100, 200, 500)
"""Numbers of images to adapt to. Numbers that exceed half of the domain are replaced by that half."""

PSEUDO_COUNTS = (10.0, 50.0)
METHODS = (("standardize", "t3a"), ("standardize", "shot"), ("standardize",), ("shot",), ("t3a",))
"""Methods to try. If two gain nearly the same, the first one is selected."""

DRAWS, MOST_TESTED = 2, 1000
"""Number of random splits of a domain into halves, and the largest number of test images in a half."""


@dataclass(frozen=True)
class Candidate:
    """Adaptations in order, with the pseudo-count of `standardize`.

    Attributes:
        names: names in ``afield.adaptation.ADAPTATIONS``; if empty, the model is unchanged.
        pseudo_count: pseudo-count of `standardize`, in images; None for its default.
    """

    names: tuple[str, ...] = ()
    pseudo_count: float | None = None

    def build(self) -> Chain:
        """Build the adaptation."""
        options = {name: {"pseudo_count": self.pseudo_count} for name in self.names if self.pseudo_count is not None}
        return build_adaptation(self.names, {name: o for name, o in options.items() if name == "standardize"})

    @property
    def text(self) -> str:
        """The names joined by ``+``, as in recipes and options; ``none`` without names."""
        return "+".join(self.names) or "none"

    @property
    def key(self) -> str:
        """The text, with the pseudo-count if there is one."""
        return self.text if self.pseudo_count is None else f"{self.text}, {self.pseudo_count:g}"


SELF = build_adaptation(("standardize", "shot"), {"shot": {"pseudo_count": 0.0}})
"""The adaptation for the forecast `self_agreement`."""

CANDIDATES = tuple(
    Candidate(names, count) for names in METHODS for count in (PSEUDO_COUNTS if "standardize" in names else (None,))
)


@dataclass(frozen=True)
class Play:
    """Results of one training domain that played the new place, for one number of images.

    Attributes:
        domain: name of the domain.
        images: number of images that the model was adapted to, without their labels.
        accuracy: accuracy of the model before adaptation on the other half of the domain.
        gains: change of this accuracy by each candidate, as a fraction, by the candidate's key.
        forecasts: forecasts of the accuracy from the images adapted to, by name, one for each draw of images.
    """

    domain: str
    images: int
    accuracy: float
    gains: Mapping[str, float]
    forecasts: Mapping[str, tuple[float, ...]]

    def errors(self, forecast: str) -> list[float]:
        """The forecast minus the accuracy, for each draw."""
        return [value - self.accuracy for value in self.forecasts[forecast]]


def play(
    classifier: Classifier,
    features: Tensor,
    labels: Tensor,
    *,
    source: SourceStatistics,
    reference: Reference,
    domain: str,
    seed: int,
    groups: Tensor | None = None,
) -> list[Play]:
    """Adapt to random images of one half of a domain and test on the other half, for each number of images.

    Args:
        classifier: classifier on precomputed features, trained without the domain.
        features: features of the domain from the backbone, ``[N, D]``.
        labels: labels ``[N]``, for testing only.
        source: statistics of the other domains.
        reference: reference values on the validation images of the other domains.
        domain: name of the domain; the draws depend on it.
        seed: seed of the draws.
        groups: group of each image ``[N]``, at least two groups; no group is in both halves.
    """
    generator = torch.Generator().manual_seed(seed_for("play", seed, domain))
    halves = [_halves(len(features), groups, generator) for _ in range(DRAWS)]
    most = len(halves[0][0])
    with torch.no_grad():
        return [
            _play(classifier, features, labels, halves, images, source, reference, domain)
            for images in [size for size in SIZES if size < most] + [most]
        ]


def _halves(count: int, groups: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two random halves of the indices of images. With groups, whole groups are at most a half, or one group."""
    order = torch.randperm(count, generator=generator)
    if groups is None:
        first, second = order.tensor_split(2)
        return first, second
    drawn = groups[order]
    kinds, sizes = drawn.unique(return_counts=True)
    found = kinds[torch.randperm(len(kinds), generator=generator)]
    ends = sizes[torch.searchsorted(kinds, found)].cumsum(0)
    inside = torch.isin(drawn, found[: max(1, int((ends[:-1] <= (count + 1) // 2).sum()))])
    return order[inside], order[~inside]


def _play(
    classifier: Classifier,
    features: Tensor,
    labels: Tensor,
    halves: Sequence[Sequence[Tensor]],
    images: int,
    source: SourceStatistics,
    reference: Reference,
    domain: str,
) -> Play:
    before, found = [], []
    gains: dict[str, list[float]] = {candidate.key: [] for candidate in CANDIDATES}
    for adapt, test in halves:
        given, tested, right = features[adapt[:images]], features[test[:MOST_TESTED]], labels[test[:MOST_TESTED]]
        before.append(_accuracy(classifier.logits(tested), right))
        found.append(forecast_all(classifier, given, source, reference))
        for candidate in CANDIDATES:
            adapted = candidate.build().adapt(classifier, given, source)
            gains[candidate.key].append(_accuracy(adapted.logits(tested), right) - before[-1])
    return Play(
        domain=domain,
        images=images,
        accuracy=sum(before) / len(before),
        gains={key: sum(values) / len(values) for key, values in gains.items()},
        forecasts={name: tuple(one[name] for one in found) for name in found[0]},
    )


def forecast_all(
    classifier: Classifier, features: Tensor, source: SourceStatistics, reference: Reference
) -> dict[str, float]:
    """Forecast the accuracy in the new place with every method, from the features ``[N, D]`` of its images."""
    with torch.no_grad():
        adapted = SELF.adapt(classifier, features, source)
        return forecasts(classifier.logits(features), adapted.logits(features), reference)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def to_json(plays: Sequence[Play]) -> list[dict[str, Any]]:
    """Convert plays to values that JSON supports."""
    return [asdict(each) for each in plays]


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Play]:
    """Convert the result of `to_json` back to plays."""
    return [*decode(tuple[Play, ...], found, "plays")]


def with_images(plays: Sequence[Play], images: int) -> list[Play]:
    """For each domain, return the play with the most images, up to this number; empty if all plays have more images."""
    fitting = [each for each in sorted(plays, key=lambda each: each.images) if each.images <= images]
    return [*{each.domain: each for each in fitting}.values()]
