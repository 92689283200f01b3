"""Analysis for the report: confusion matrices, probabilities of wrong classes, sample images and worst errors."""

import base64
import io
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from afield.comparison.review import review
from afield.data import ImageSet
from afield.evaluation import confusion, non_target_probabilities
from afield.evaluation.metrics import Floats, Labels
from afield.records import seed_for
from afield.runs.execute import PREDICTIONS
from afield.runs.run import Run
from afield.training import checkpoint

SAMPLES, ERRORS, THUMBNAIL = 8, 8, 96

REVIEWED = 7_500_000
"""Largest number of predictions that all fits of the reviews read together, which takes about half a minute.

A recipe has a fit for each domain, from the predictions for the other domains. With 3 recipes and 4 domains, the limit
is 156,250 predictions for each recipe and domain; with 20 recipes and 10 domains, it is 3,750.
"""

Prediction = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Logits ``[N, K]`` on a held-out part, and the indices ``[N]`` of its images in the data set."""

Found = Sequence[tuple[Run, str, Prediction]]
"""Runs, each with a held-out part and its predictions for this part."""


def read_predictions(runs: Sequence[Run], folder: Callable[[Run], Path], rule: str) -> Found:
    """Read the predictions of each run for each held-out part.

    They are those of the last epoch for the rule ``last``, and of the best epoch on training-domain validation for
    every other rule. Runs save only these two.

    Args:
        runs: finished runs.
        folder: maps a run to its folder.
        rule: name of the selection rule.
    """
    found = []
    for run in runs:
        tensors, _ = checkpoint.load(folder(run) / PREDICTIONS)
        for part in run.held_out:
            logits, indices = tensors[f"{_epoch(rule)}/test/{part}"], tensors[f"indices/test/{part}"]
            found.append((run, part, (logits.numpy(), indices.numpy())))
    return found


def analyze(data: ImageSet, found: Found, rule: str, shown: Collection[str]) -> dict[str, Any]:
    """Confusion matrices and review by recipe and part, wrong-class probabilities by recipe and class, as JSON.

    Parts that are not `shown` one by one have a confusion matrix together, and no review.
    """
    others = f"{len(set(_parts(found)) - set(shown)):,} other domains"
    named = {part: part if part in shown else others for part in _parts(found)}
    by_recipe: dict[str, list[tuple[str, Prediction]]] = {}
    for run, part, prediction in found:
        by_recipe.setdefault(run.recipe.name, []).append((part, prediction))
    recipes = {}
    for recipe, predicted in by_recipe.items():
        counts = {name: np.zeros((len(data.class_names),) * 2, np.int64) for name in named.values()}
        for part, (logits, indices) in predicted:
            counts[named[part]] += confusion(logits, data.labels[indices])
        recipes[recipe] = {
            "confusion": {part: count.tolist() for part, count in counts.items()},
            "non_target": wrong_class_probabilities(data, [prediction for _, prediction in predicted]),
        }
        if len(unseen := joined(data, [each for each in predicted if each[0] in shown])) > 1:
            recipes[recipe]["review"] = review(unseen, max(1, REVIEWED // (len(by_recipe) * len(unseen) ** 2)))
    return {"classes": list(data.class_names), "epoch": _epoch(rule), "recipes": recipes}


def joined(data: ImageSet, predicted: Sequence[tuple[str, Prediction]]) -> dict[str, tuple[Floats, Labels]]:
    """The logits ``[N, K]`` and labels ``[N]`` of each part, over all its predictions."""
    parts: dict[str, list[Prediction]] = {}
    for part, prediction in predicted:
        parts.setdefault(part, []).append(prediction)
    return {
        part: (np.concatenate([logits for logits, _ in each]), data.labels[np.concatenate([rows for _, rows in each])])
        for part, each in parts.items()
    }


def gallery(data: ImageSet, found: Found, shown: Collection[str]) -> dict[str, Any]:
    """Sample images of each `shown` part, and all recipes' worst errors there, as data URLs; one of each group."""
    parts: dict[str, list[Prediction]] = {part: [] for part in _parts(found) if part in shown}
    for _, part, prediction in found:
        if part in parts:
            parts[part].append(prediction)
    return {
        "samples": {part: _samples(data, part, predictions[0][1]) for part, predictions in parts.items()},
        "errors": {part: _worst(data, predictions) for part, predictions in parts.items()},
    }


def _parts(found: Found) -> list[str]:
    return [*dict.fromkeys(part for _, part, _ in found)]


def _epoch(rule: str) -> str:
    return "last" if rule == "last" else "best"


def wrong_class_probabilities(data: ImageSet, found: Sequence[Prediction]) -> dict[str, list[float | None]]:
    """For each class, the mean probability of every other class over all its unseen images; None for itself."""
    logits = np.concatenate([logits for logits, _ in found])
    labels = data.labels[np.concatenate([indices for _, indices in found])]
    return {
        data.class_names[label]: [
            None if np.isnan(p) else round(float(p), 6) for p in non_target_probabilities(logits, labels, int(label))
        ]
        for label in np.unique(labels)
    }


def _samples(data: ImageSet, part: str, indices: NDArray[np.int64]) -> list[dict[str, Any]]:
    indices = _one_of_each_group(data, indices)
    rng = np.random.default_rng(seed_for("samples", part))
    chosen = rng.choice(indices, min(SAMPLES, len(indices)), replace=False)
    return [{"image": thumbnail(data.images[i]), "class": data.class_names[data.labels[i]]} for i in chosen]


def _one_of_each_group(data: ImageSet, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first index of each group, in the same order."""
    if data.groups is None:
        return indices
    return indices[np.sort(np.unique(data.groups[indices], return_index=True)[1])]


def _worst(data: ImageSet, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The misclassified images with the lowest mean probability of the true class over all runs, one of each group."""
    total, count = np.zeros((len(data), len(data.class_names))), np.zeros(len(data))
    for logits, indices in predictions:
        total[indices] += softmax(logits.astype(np.float64), axis=1)
        count[indices] += 1
    seen = np.flatnonzero(count)
    mean = total[seen] / count[seen, None]
    wrong = mean.argmax(axis=1) != data.labels[seen]
    right = mean[np.arange(len(seen)), data.labels[seen]]
    order = np.argsort(right, kind="stable")
    order = order[wrong[order]]
    order = np.searchsorted(seen, _one_of_each_group(data, seen[order]))
    return [
        {
            "image": thumbnail(data.images[seen[i]]),
            "path": data.paths[seen[i]],
            "class": data.class_names[data.labels[seen[i]]],
            "predicted": data.class_names[int(mean[i].argmax())],
            "probability": round(float(mean[i].max()), 4),
        }
        for i in order[:ERRORS]
    ]


def thumbnail(image: NDArray[np.uint8]) -> str:
    """An image ``[H, W, 3]`` as a data URL of at most 96 pixels: PNG if the image is tiny, otherwise JPEG."""
    picture = Image.fromarray(np.asarray(image))
    if max(picture.size) <= 32:
        return data_url(picture, "png")
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_url(picture, "jpeg", quality=80)


def data_url(picture: Image.Image, kind: str, **options: int) -> str:
    """A data URL of an image as ``png`` or ``jpeg``."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
