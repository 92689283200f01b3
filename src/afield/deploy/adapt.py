"""Adaptation of a trained model to a new place. The result is another model folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from afield.adaptation import ADAPTATIONS, Chain, with_backbone
from afield.adaptation.calibration import METHODS, Candidate, with_images
from afield.adaptation.choice import Choice, choose
from afield.classifier import Classifier
from afield.data import ImageSet
from afield.deploy.fine_tune import fine_tuned
from afield.deploy.label import audited, refitted
from afield.deploy.model import Model
from afield.deploy.place import Place
from afield.deploy.saved_model import MODEL, load, read_description, save_weights
from afield.deploy.source import Source
from afield.errors import InputError
from afield.labeling.audit import Fraction
from afield.labeling.label_file import Row, with_class
from afield.records import read_json, run_hash, write_json
from afield.runs.callback import SILENT, Callback

Tune = Literal["head", "network"]

ADAPTED = "adapted"
"""The key of the adaptation in the description of a model."""


@dataclass(frozen=True)
class Adapted:
    """A model that is adapted to a new place.

    Attributes:
        model: adapted model.
        method: adaptations joined by ``+``; ``none`` if the model is unchanged.
        images: number of images of the new place.
        gains: gain of accuracy by the method on each training domain that played the new place, a fraction.
        reason: reason for the method, a sentence.
        labels: number of labeled images that the head or the network is fitted to.
        before: accuracy of the original model on the audit sample; None if the sample has no labels.
        after: accuracy of the adapted model on the audit sample.
        tune: part of the model that is fitted to the labels.
    """

    model: Model
    method: str
    images: int
    gains: Mapping[str, float]
    reason: str
    labels: int = 0
    before: Fraction | None = None
    after: Fraction | None = None
    tune: Tune = "head"


def adapt_model(
    folder: Path,
    place: Place,
    source: Source,
    method: str,
    out: Path,
    rows: Sequence[Row] = (),
    *,
    tune: Tune = "head",
    data: ImageSet | None = None,
    callback: Callback = SILENT,
) -> Adapted:
    """Adapt the model of a folder to a place, and write the result to another folder.

    Args:
        folder: folder of the model.
        place: unlabeled images of the place.
        source: statistics of the training data.
        method: adaptations joined by ``+``. ``auto`` selects the method by the gains on training domains that played
            the new place. ``none`` does not change the model.
        out: folder to write.
        rows: rows of a label file of the place. The adapted model is fitted to the chosen images. The audit sample only
            measures the model before and after.
        tune: ``"head"`` refits the head to the labels, ``"network"`` then fine-tunes the whole network.
        data: training data of the model, for the whole network.
        callback: receives the progress of fine-tuning.

    Raises:
        InputError: if the method is unknown or cannot change this model, or `out` contains another model.
    """
    model, description = load(folder), read_json(folder / MODEL)
    choice = choose_method(method, source, len(place.files))
    about: dict[str, Any] = {"method": choice.candidate.text, "images": len(place.files), "place": place.name}
    about |= {"reason": choice.reason, "from": run_hash(description)}
    if (out / MODEL).exists() and (read_description(out / MODEL).adapted or {}).get("from") != about["from"]:
        raise InputError(f"{out} contains another model; choose another --out")
    adapted = replace(model, classifier=adapted_classifier(model, place, source, choice.candidate.build()).eval())
    if labels := len(with_class(rows, "chosen")):
        about |= {"labels": labels, **({"tune": tune} if tune == "network" else {})}
        adapted = refitted(adapted, place.folder, rows)
        if tune == "network":
            adapted = fine_tuned(adapted, place.folder, rows, data, callback.epoch)
    before, after = (
        audited(each, place.folder, rows).accuracy if with_class(rows, "audit") else None for each in (model, adapted)
    )
    save_weights(out, adapted)
    source.save(out)
    write_json(out / MODEL, {**description, ADAPTED: about})
    found = (adapted, choice.candidate.text, len(place.files), choice.gains, choice.reason)
    return Adapted(*found, labels, before, after, tune)


def check_not_adapted(folder: Path) -> None:
    """Raise `InputError` if the model of a folder is already adapted to a place."""
    about = read_description(folder / MODEL).adapted
    if about and (about.get("method") != "none" or "labels" in about):
        raise InputError(f"{folder} is already adapted to {about.get('place')}; use the original model instead")


def choose_method(method: str, source: Source, images: int) -> Choice:
    """Select the adaptations; see `adapt_model`."""
    names = () if method in ("auto", "none") else tuple(method.split("+"))
    for name in names:
        ADAPTATIONS.entry(name)
    if method == "none":
        return Choice(Candidate(), {}, "as requested")
    if method == "auto":
        if not source.plays:
            return Choice(Candidate(), {}, f"{source.why_no_plays}; --method standardize+t3a adapts anyway")
        return choose(source.plays, images)
    if names in METHODS and with_images(source.plays, images):
        return choose(source.plays, images, names)
    return Choice(Candidate(names), {}, "as requested; the gain on the training domains is not known")


def adapted_classifier(model: Model, place: Place, source: Source, chain: Chain) -> Classifier:
    """Adapt the classifier of a model to a place. Features are used if the backbone does not change."""
    classifier = model.classifier
    if any(part.needs == "images" for part in chain.parts):
        return chain.adapt(classifier, place.images(model), source.statistics)
    on_features = chain.adapt(with_backbone(classifier, nn.Identity()), place.features, source.statistics)
    return with_backbone(on_features, classifier.backbone)
