"""What adaptations and forecasts are worth: every training domain plays the new place of a model trained without it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from afield.adaptation.chain import Chain, build_adaptation
from afield.adaptation.forecasts import Reference, forecasts
from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.records import seed_for

SIZES = (10, 20, 50, 100, 200, 500)
"""Numbers of images that are adapted to, as far as half of the domain has so many."""

PSEUDO_COUNTS = (10.0, 50.0)
METHODS = (("standardize", "t3a"), ("standardize", "shot"), ("standardize",), ("shot",), ("t3a",))
"""What is tried; of two that gain nearly the same, the first is taken."""

DRAWS, MOST_TESTED = 2, 1000
"""Random halves of a domain, and how many images of the half that is not adapted to are tested, at most."""


@dataclass(frozen=True)
class Candidate:
    """Adaptations in order, and the pseudo-count of `standardize` among them.

    Attributes:
        names: in ``afield.adaptation.ADAPTATIONS``; none leaves the model as it is.
        pseudo_count: in images; None if no adaptation has one.
    """

    names: tuple[str, ...] = ()
    pseudo_count: float | None = None

    def build(self) -> Chain:
        """The adaptation."""
        options = {name: {"pseudo_count": self.pseudo_count} for name in self.names if self.pseudo_count is not None}
        return build_adaptation(self.names, {name: o for name, o in options.items() if name == "standardize"})

    @property
    def text(self) -> str:
        """The names as recipes and options have them."""
        return "+".join(self.names) or "none"

    @property
    def key(self) -> str:
        """The names, and the pseudo-count where there is one."""
        return self.text if self.pseudo_count is None else f"{self.text}, {self.pseudo_count:g}"


SELF = build_adaptation(("standardize", "shot"), {"shot": {"pseudo_count": 0.0}})
"""What the adapted self of the forecast `self_agreement` is adapted by."""

CANDIDATES = tuple(
    Candidate(names, count) for names in METHODS for count in (PSEUDO_COUNTS if "standardize" in names else (None,))
)


@dataclass(frozen=True)
class Play:
    """How one training domain played the new place, with some number of its images.

    Attributes:
        domain: its name.
        images: number of images that were adapted to, without their labels.
        accuracy: of the model as it was, on the other half of the domain.
        gains: what each candidate changed of that accuracy, as a fraction, by its key.
        forecasts: forecasts of the accuracy from the images adapted to, by name, one for each draw of images.
    """

    domain: str
    images: int
    accuracy: float
    gains: Mapping[str, float]
    forecasts: Mapping[str, tuple[float, ...]]

    def errors(self, forecast: str) -> list[float]:
        """Forecast minus accuracy, for each draw."""
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
) -> list[Play]:
    """Adapt to random images of one half of a domain, and test on the other half; a play for each number of images.

    Args:
        classifier: on ready features, trained without the domain.
        features: of the domain, ``[N, D]``, as the backbone gives them.
        labels: ``[N]``; they judge, and nothing adapts to them.
        source: of the other domains.
        reference: of the other domains' validation images.
        domain: its name, which the draws depend on.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed_for("play", seed, domain))
    halves = [torch.randperm(len(features), generator=generator).tensor_split(2) for _ in range(DRAWS)]
    most = len(halves[0][0])
    with torch.no_grad():
        return [
            _play(classifier, features, labels, halves, images, source, reference, domain)
            for images in [size for size in SIZES if size < most] + [most]
        ]


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
    """The accuracy in the new place by every forecast: features ``[N, D]`` of its images."""
    with torch.no_grad():
        adapted = SELF.adapt(classifier, features, source)
        return forecasts(classifier.logits(features), adapted.logits(features), reference)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def to_json(plays: Sequence[Play]) -> list[dict[str, Any]]:
    """Plays as JSON can hold them."""
    return [asdict(each) for each in plays]


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Play]:
    """What `to_json` gave."""
    return [
        Play(**{**each, "forecasts": {name: tuple(values) for name, values in each["forecasts"].items()}})
        for each in found
    ]


def with_images(plays: Sequence[Play], images: int) -> list[Play]:
    """For each domain, the play with the most images that are not more than these; none if all have more."""
    fitting = [each for each in sorted(plays, key=lambda each: each.images) if each.images <= images]
    return [*{each.domain: each for each in fitting}.values()]
