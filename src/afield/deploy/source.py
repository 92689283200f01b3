"""The statistics of the training data in a model folder, for adaptation and forecasts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.adaptation import SourceStatistics, with_backbone
from afield.adaptation.calibration import Play, from_json, play, to_json
from afield.adaptation.features import backbone_features
from afield.adaptation.forecasts import Reference
from afield.algorithms import ALGORITHMS
from afield.classifier import Classifier
from afield.data import ImageSet, Validation
from afield.deploy.model import Model
from afield.deploy.saved_model import MODEL, load
from afield.errors import InputError
from afield.fabric import Fabric
from afield.models import BackboneConfig
from afield.recipes import recipe_from
from afield.records import decode, read_json, stored_views
from afield.runs.adapting import source_statistics, standardizes, with_norm
from afield.runs.callback import Callback
from afield.runs.config import ExperimentConfig, PartialTraining
from afield.runs.execute import DONE, execute
from afield.runs.features import stored_features
from afield.runs.run import Run, prepare
from afield.training import Subset, TrainConfig, TrainState, checkpoint, predict

SOURCE, CALIBRATION, PLAYS = "adaptation.safetensors", "calibration", "plays.safetensors"
BATCH = 256
AGAIN = "no training domain has played the new place; give the training data with --data to train without each of them"
SMALLEST = 20
"""Number of images that a training domain needs to play the new place: ten to adapt to, and ten for testing."""


@dataclass(frozen=True)
class Source:
    """Statistics of the training data.

    Attributes:
        statistics: statistics of the features of the training images.
        reference: reference values of the unchanged model on the validation images.
        plays: results of each training domain that played the new place; can be empty.
        why_no_plays: reason if `plays` is empty, a sentence.
    """

    statistics: SourceStatistics
    reference: Reference
    plays: Sequence[Play] = ()
    why_no_plays: str = ""

    def save(self, folder: Path) -> None:
        """Write the statistics to a model folder."""
        state = {"reference": asdict(self.reference), "plays": to_json(self.plays)}
        state["why_no_plays"] = self.why_no_plays
        checkpoint.save(folder / SOURCE, self.statistics.tensors(), state)

    @classmethod
    def load(cls, folder: Path, model: Model) -> Source | None:
        """Read the statistics that `save` wrote to the folder of a model; None if there are none.

        Raises:
            InputError: if the file is damaged or does not fit the model.
        """
        if not (folder / SOURCE).exists():
            return None
        tensors, state = checkpoint.load(folder / SOURCE)
        found: _State = decode(_State, state, f"{folder / SOURCE}:")
        head = model.classifier.objective.head
        try:
            statistics = SourceStatistics.from_tensors(tensors)
            fits = statistics.fits(head.in_features, head.num_classes)
        except (KeyError, RuntimeError, ValueError, OverflowError):  # a tensor is missing, or a count is no number
            fits = False
        if not fits:
            raise InputError(f"{folder / SOURCE} does not contain the statistics of {head.in_features} features")
        return cls(statistics, found.reference, found.plays, found.why_no_plays)


@dataclass(frozen=True)
class _State:
    """The JSON part of the file of a `Source`."""

    reference: Reference
    plays: tuple[Play, ...]
    why_no_plays: str


def known_source(
    run: Run, classifier: Classifier, features: NDArray[np.floating] | None, fabric: Fabric
) -> tuple[Classifier, Source]:
    """Return the trained classifier for deployment, and the statistics of its training data.

    If training standardizes features by domain, the classifier uses the statistics of all training images.
    """
    fold, parts, _ = prepare(run, features, fabric)
    train, val = (part if features is None else replace(part, inputs=features) for part in (parts.train, parts.val))
    statistics = source_statistics(classifier, train, run.setup.data, BATCH, fabric)
    if standardizes(run.recipe):
        classifier = with_norm(classifier, statistics.pooled)
    labels = torch.from_numpy(run.setup.data.labels[fold.val])
    reference = Reference.of(predict(classifier, val, batch_size=BATCH, fabric=fabric), labels)
    on_cpu = {name: tensor.cpu() for name, tensor in statistics.tensors().items()}
    return classifier, Source(SourceStatistics.from_tensors(on_cpu), reference)


def players(run: Run) -> list[str]:
    """The training domains with enough images, of at least two groups, to play the new place."""
    data = run.setup.data
    parts = [np.flatnonzero(data.domains == domain) for domain in range(len(data.domain_names))]
    groups = np.arange(len(data)) if data.groups is None else data.groups
    return [
        name
        for name, part in zip(data.domain_names, parts, strict=True)
        if len(part) >= SMALLEST and len(np.unique(groups[part])) > 1 and name not in run.held_out
    ]


def why_no_plays(run: Run) -> str:
    """The reason why the training domains cannot play the new place; empty if they can."""
    if len(players(run)) <= ALGORITHMS[run.recipe.algorithm].domains_at_least:
        return f"the training data has too few domains of {SMALLEST} images for one of them to play the new place"
    return ""


def folds(run: Run) -> list[Run]:
    """The runs of `calibrate`: the recipe without each training domain in turn."""
    return [replace(run, held_out=(*run.held_out, domain)) for domain in players(run)]


def fold_folder(out: Path, fold: Run) -> Path:
    """The folder of a run of `calibrate` in a model folder."""
    return out / CALIBRATION / fold.hash


def calibrate(
    run: Run, features: NDArray[np.floating] | None, out: Path, fabric: Fabric, callback: Callback
) -> list[Play]:
    """Train the recipe without each training domain in turn, and let this domain play the new place.

    Args:
        run: run of the model.
        features: what training uses in place of images; see `afield.runs.features.stored_features`.
        out: model folder. Finished runs in it are not repeated; `clear` removes them.
        fabric: device and precision.
        callback: receives the progress.
    """
    plays, runs = list[Play](), folds(run)
    for index, without in enumerate(runs):
        folder = fold_folder(out, without)

        def let_play(classifier: Classifier, progress: TrainState, run: Run = without, folder: Path = folder) -> None:
            classifier.load_state_dict(progress.best)
            found = to_json(_plays(run, run.held_out[-1], classifier, features, fabric))
            checkpoint.save(folder / PLAYS, {}, {"plays": found})

        callback.run(index, len(runs), without)
        if not (folder / PLAYS).exists():
            (folder / DONE).unlink(missing_ok=True)
        execute(without, folder, fabric, features=features, callback=callback, on_trained=let_play)
        plays += from_json(checkpoint.load(folder / PLAYS)[1]["plays"])
    return plays


def clear(out: Path) -> None:
    """Remove the runs of `calibrate` from a model folder."""
    shutil.rmtree(out / CALIBRATION, ignore_errors=True)


def learn_source(folder: Path, data: ImageSet, fabric: Fabric, callback: Callback) -> Source:
    """Compute the statistics of the training data of a model again, and add them to the folder of the model.

    Raises:
        InputError: if the data is not the training data of the model.
    """
    description, model = read_json(folder / MODEL), load(folder)
    config = description["config"]
    if data.fingerprint != config["data"]["fingerprint"]:
        raise InputError(f"--data {data.name} is not the training data of {folder} ({config['data']['name']})")
    weights, frozen = config["backbone"]["weights"].split()[0], config["backbone"]["freeze"]
    named = "none" if frozen or weights.startswith("sha256") else weights
    validation = Validation(config["validation"]["fraction"], config["validation"]["stratified"])
    backbone = BackboneConfig(**description["backbone"], weights=named)
    training, metric = TrainConfig(**config["training"]), config.get("metric", "accuracy")
    views = stored_views(config["backbone"])
    setup = ExperimentConfig(data, backbone, frozen, validation, training, metric=metric, views=views if frozen else 1)
    recipe, member = recipe_from(description["recipe"], MODEL), config.get("member", 0)
    run = Run(setup, recipe, tuple(config["held_out"]), config["seed"], member)
    features = backbone_features(model.classifier, _images(data)).numpy() if frozen else None
    classifier = with_backbone(model.classifier, nn.Identity()) if frozen else model.classifier
    _, source = known_source(run, classifier, features, fabric)
    why = why_no_plays(run)
    if not frozen and named != weights:
        why = "the training of the network started from a weights file that the model folder does not contain"
    part = config["backbone"].get("partial", {})
    augmented = run.augment != "none" if frozen else "views" in part  # early models do not name the augmentation
    if views > 1 and augmented:
        why = "the model folder does not contain the augmented images that the head was trained on"
    if part and not why:
        run = replace(run, setup=replace(setup, partial=PartialTraining(part["stage"], part["dtype"]), views=views))
        features = stored_features(run.setup, run.augment, fabric, callback.features)
    source = replace(source, why_no_plays=why, plays=[] if why else calibrate(run, features, folder, fabric, callback))
    source.save(folder)
    clear(folder)
    return source


def _plays(
    run: Run, domain: str, classifier: Classifier, features: NDArray[np.floating] | None, fabric: Fabric
) -> list[Play]:
    classifier, source = known_source(run, classifier, features, fabric)
    data, classifier = run.setup.data, classifier.cpu().eval()
    rows = np.flatnonzero(data.domains == data.domain_names.index(domain))
    inputs = data.images if features is None else features
    ((images, _),) = Subset(inputs, data.labels, rows).batches([np.arange(len(rows))])
    return play(
        with_backbone(classifier, nn.Identity()),
        backbone_features(classifier, images),
        torch.from_numpy(data.labels[rows]),
        source=source.statistics,
        reference=source.reference,
        domain=domain,
        seed=run.seed,
        groups=None if data.groups is None else torch.from_numpy(data.groups[rows]),
    )


def _images(data: ImageSet) -> Tensor:
    return torch.from_numpy(data.images).permute(0, 3, 1, 2)
