"""What a model of each recipe can be left to decide on an unseen domain, for the report."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from afield.evaluation.confidence import Scored, fit_temperature, threshold_for
from afield.evaluation.metrics import Floats, Labels

TARGET = 0.95
COVERAGES = tuple(round(0.05 * i, 2) for i in range(1, 21))


def review(parts: Mapping[str, tuple[Floats, Labels]], most: int = sys.maxsize) -> dict[str, Any]:
    """The coverage and accuracy on each unseen part at the threshold that the other parts set, JSON-serializable.

    The temperature and the threshold for a part come from the predictions for the other parts, each by models that were
    trained without it. The threshold is the smallest probability at which the accuracy is `TARGET` on each of these
    parts.

    Args:
        parts: logits ``[N, K]`` and labels ``[N]`` of at least two unseen parts, by name.
        most: largest number of predictions of each part that temperatures and thresholds are fitted to; evenly spaced.

    Returns:
        by part, ``coverage``: fraction of the images with a probability of at least the threshold; ``accuracy``: that
        of these images, or None; ``risk``: fraction of errors at each coverage of `COVERAGES`.
    """
    fitted = {name: _evenly_spaced(*part, most) for name, part in parts.items()}
    found = {}
    for name, part in parts.items():
        others = [other for key, other in fitted.items() if key != name]
        temperature = fit_temperature(others)
        threshold = threshold_for(TARGET, [Scored.of(*other, temperature) for other in others])
        scored = Scored.of(*part, temperature)
        coverage, accuracy = scored.accepted(threshold)
        risk = [round(value, 6) for value in scored.risk_at(COVERAGES).tolist()]
        found[name] = {"coverage": coverage, "accuracy": accuracy, "risk": risk}
    return found


def _evenly_spaced(logits: Floats, labels: Labels, most: int) -> tuple[Floats, Labels]:
    if len(labels) <= most:
        return logits, labels
    rows = np.linspace(0, len(labels) - 1, most).astype(np.int64)
    return logits[rows], labels[rows]
