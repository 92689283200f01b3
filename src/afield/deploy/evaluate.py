"""Evaluation of a trained model on any labeled data."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.data import ImageSet
from afield.data.images import SPLITS
from afield.deploy.model import Model
from afield.deploy.tta import TTA, mean_logits
from afield.errors import InputError, unknown_name
from afield.evaluation import METRICS, bootstrap, class_by_domain, confusion, measure, precision, recall
from afield.evaluation.confidence import Scored


def evaluate(
    model: Model, data: ImageSet, tta: TTA | None = None, *, metric: str = "accuracy", threshold: float | None = None
) -> dict[str, Any]:
    """Compute all metrics by domain and over all images, with intervals, the results of each class, and the confusion.

    Classes are matched by name; the data need not contain all classes of the model. If the data has a given test split,
    only this split is evaluated. The metrics with test-time augmentation are under ``tta``; all other metrics are those
    without it. ``ci95`` has 95 % bootstrap intervals over the groups of the data, or over images without groups
    (`afield.evaluation.bootstrap`). ``trained_on`` is the number of
    images that trained the model or selected its epoch, as far as known: for models of earlier versions only if the
    data are those of the training, otherwise None. With a threshold, the coverage under ``review`` is the fraction of
    images whose probability is at least the threshold; the accuracy beside it is that of these images.

    Args:
        model: model to evaluate.
        data: labeled images.
        tta: test-time augmentation.
        metric: name of the metric to show first.
        threshold: smallest probability of a prediction that is left to the model.

    Raises:
        InputError: if the metric is unknown, or the data has a class that the model does not have, or images of another
            size.
    """
    METRICS.entry(metric)
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
    domains, group = data.domains[chosen], (np.arange(len(data)) if data.groups is None else data.groups)[chosen]

    found = {name: np.flatnonzero(domains == index) for index, name in enumerate(data.domain_names)}
    by_domain = {name: rows for name, rows in found.items() if len(rows)}

    def figures(logits: NDArray[np.float32]) -> dict[str, Any]:
        def of(inside: NDArray[np.int64]) -> dict[str, Any]:
            arguments = logits[inside], labels[inside], domains[inside]
            values = {name: float(value) for name, value in measure(*arguments).items()}
            return {"n": len(inside), **values, "ci95": bootstrap(lambda w: measure(*arguments, w), group[inside])}

        return {"domains": {name: of(rows) for name, rows in by_domain.items()}, "all": of(np.arange(len(chosen)))}

    result = {
        "data": data.name,
        "metric": metric,
        "groups": len(np.unique(group)),
        "trained_on": _trained_on(model, data, chosen),
        **figures(logits),
        "classes": list(model.class_names),
        "precision": _known(precision(logits, labels)),
        "recall": _known(recall(logits, labels)),
        "recall_by_domain": dict(
            zip(
                data.domain_names,
                map(_known, class_by_domain(logits, labels, domains, len(data.domain_names)).T),
                strict=True,
            )
        ),
        "confusion": confusion(logits, labels).tolist(),
    }
    if tta is not None:
        averaged = mean_logits(model.logits, data.images[chosen], tta) / temperature
        result["tta"] = {"kind": tta, **figures(averaged.numpy())}
    if threshold is not None:
        parts = {**by_domain, "all": np.arange(len(chosen))}
        accepted = {name: Scored.of(logits[rows], labels[rows]).accepted(threshold) for name, rows in parts.items()}
        review = {name: {"coverage": coverage, "accuracy": right} for name, (coverage, right) in accepted.items()}
        result["review"] = {"threshold": threshold, "all": review.pop("all"), "domains": review}
    return result


def _trained_on(model: Model, data: ImageSet, chosen: NDArray[np.int64]) -> int | None:
    """The number of chosen images that trained the model or selected its epoch; None if it is not known."""
    if model.trained_images is not None:
        return int(np.isin(data.digests[chosen], model.trained_images).sum())
    if data.fingerprint != model.config["data"]["fingerprint"]:
        return None
    return 0 if "test" in model.config["held_out"] else len(chosen)


def _known(values: NDArray[np.floating]) -> list[float | None]:
    """The values ``[K]``, None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
