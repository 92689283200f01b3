"""Evaluation of a trained model on any labeled data."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.data import ImageSet
from afield.data.images import SPLITS
from afield.deploy.model import Model
from afield.deploy.tta import TTA, mean_logits
from afield.errors import InputError, unknown_name
from afield.evaluation import accuracy, confusion, mean_average_precision
from afield.evaluation.confidence import Scored


def evaluate(model: Model, data: ImageSet, tta: TTA | None = None, *, threshold: float | None = None) -> dict[str, Any]:
    """Compute accuracy and mAP by domain and over all images, the confusion matrix, and what can be left to the model.

    Classes are matched by name; the data need not contain all classes of the model. If the data has a given test split,
    only this split is evaluated. The metrics with test-time augmentation are under ``tta``; all other metrics are those
    without it. The coverage under ``review`` is the fraction of images whose probability is at least the threshold; the
    accuracy beside it is that of these images. It is missing without a threshold.

    Raises:
        InputError: if the data has a class that the model does not have, or images of another size.
    """
    index = {name: i for i, name in enumerate(model.class_names)}
    for label in np.unique(data.labels):
        if (name := data.class_names[label]) not in index:
            unknown_name("class of this model", name, model.class_names)
    if data.images.shape[1:3] != model.size:
        (height, width), (rows, columns) = data.images.shape[1:3], model.size
        raise InputError(f"{data.name}: the model needs images of {rows} x {columns} pixels, got {height} x {width}")
    test = data.given == SPLITS.index("test")
    chosen = np.flatnonzero(test) if test.any() else np.arange(len(data))
    labels = np.array([index.get(name, -1) for name in data.class_names])[data.labels[chosen]]
    temperature = model.confidence.temperature
    logits = (model.logits(data.images[chosen]) / temperature).numpy()
    domains = data.domains[chosen]

    found = {name: np.flatnonzero(domains == index) for index, name in enumerate(data.domain_names)}
    by_domain = {name: rows for name, rows in found.items() if len(rows)}

    def figures(logits: NDArray[np.float32]) -> dict[str, Any]:
        def of(inside: NDArray[np.int64]) -> dict[str, Any]:
            scores = logits[inside], labels[inside]
            return {"n": len(inside), "accuracy": accuracy(*scores), "map": mean_average_precision(*scores)}

        return {"domains": {name: of(rows) for name, rows in by_domain.items()}, "all": of(np.arange(len(chosen)))}

    matrix = confusion(logits, labels).tolist()
    result = {"data": data.name, **figures(logits), "classes": list(model.class_names), "confusion": matrix}
    if tta is not None:
        averaged = mean_logits(model.logits, data.images[chosen], tta) / temperature
        result["tta"] = {"kind": tta, **figures(averaged.numpy())}
    if threshold is not None:
        parts = {**by_domain, "all": np.arange(len(chosen))}
        accepted = {name: Scored.of(logits[rows], labels[rows]).accepted(threshold) for name, rows in parts.items()}
        review = {name: {"coverage": coverage, "accuracy": right} for name, (coverage, right) in accepted.items()}
        result["review"] = {"threshold": threshold, "all": review.pop("all"), "domains": review}
    return result
