"""Training of one recipe on all domains."""

import dataclasses
from pathlib import Path

import numpy as np

from afield.adaptation.calibration import Play
from afield.classifier import Classifier
from afield.combinations import Ensemble
from afield.comparison.compare import check
from afield.comparison.estimate import forecast
from afield.data import parts_of
from afield.deploy import saved_model as saved
from afield.deploy.confidence import Confidence, compared, left_out
from afield.deploy.model import Model
from afield.deploy.source import AGAIN, calibrate, clear, fold_folder, folds, known_source, why_no_plays
from afield.errors import InputError
from afield.fabric import Fabric
from afield.launch.local import Executor
from afield.recipes import Recipe
from afield.records import Record, read_record, write_json
from afield.runs.callback import Callback
from afield.runs.config import ExperimentConfig
from afield.runs.execute import DONE, RECORD, execute
from afield.runs.features import stored_features, whole_network
from afield.runs.members import combination_of, members_of
from afield.runs.run import Run
from afield.training import TrainState


def run_training(
    setup: ExperimentConfig,
    recipe: Recipe,
    *,
    seed: int,
    out: Path,
    fabric: Fabric,
    callback: Callback,
    comparison: Path | None = None,
) -> Record:
    """Train on all domains, except a given test set, and save the model of the best validation epoch.

    If the recipe averages the weights of several runs, the model is one network. If it is an ensemble, the members are
    trained one after the other, and the folder is an ensemble (`afield.deploy.ensemble`).

    The confidence of the model is measured on left-out domains: those of the comparison, or those of `calibrate` if the
    backbone is frozen. Otherwise it is measured on the validation images.

    Args:
        setup: configuration of the training.
        recipe: recipe to train.
        seed: seed.
        out: folder of the model. The caller must have locked it (`afield.records.exclusive`).
        fabric: device and precision.
        callback: receives the progress.
        comparison: folder of a comparison of the same recipe with the same settings.

    Raises:
        InputError: if an argument is not valid, the run diverges, `out` contains another model, or the comparison does
            not contain the recipe.
    """
    parts = parts_of(setup.data)
    run = Run(setup, recipe, ("test",) if parts == ("test",) else (), seed)
    if (out / DONE).exists() and read_record(out / RECORD).run != run.hash:
        raise InputError(f"{out} contains a model trained with other settings; choose another --out")
    check([run])
    if not (out / DONE).exists():
        forecast([run], Executor(out, lambda precision: fabric, callback=callback))
    if isinstance(combination_of(recipe), Ensemble):
        return _train_ensemble(run, out, fabric, callback, comparison)
    return _train_model(run, out, fabric, callback, comparison)


def _train_ensemble(run: Run, out: Path, fabric: Fabric, callback: Callback, comparison: Path | None) -> Record:
    """Train each member in its own folder in the folder of the ensemble."""
    if not (out / saved.MODEL).exists():
        (out / DONE).unlink(missing_ok=True)
    members = members_of(run)
    for each in members:
        _train_model(each, saved.member(out, each.member), fabric, callback, comparison)

    def keep(classifier: Classifier, progress: TrainState) -> None:
        write_json(out / saved.MODEL, {saved.MEMBERS: len(members)})

    def folder_of(member: Run) -> Path:
        return saved.member(out, member.member)

    features = stored_features(run.setup, run.augment, fabric, callback.features)
    return execute(run, out, fabric, features=features, callback=callback, on_trained=keep, folder_of=folder_of)


def _train_model(run: Run, out: Path, fabric: Fabric, callback: Callback, comparison: Path | None) -> Record:
    """Train a model that is not an ensemble."""
    setup = run.setup
    if not all((out / name).exists() for name in (saved.MODEL, saved.WEIGHTS)):
        (out / DONE).unlink(missing_ok=True)
    unseen = compared(run, comparison) if comparison else {}
    features = stored_features(setup, run.augment, fabric, callback.features)
    plays, why = list[Play](), why_no_plays(run) or (AGAIN if features is None else "")
    if not why and not (out / DONE).exists():
        plays = calibrate(run, features, out, fabric, callback)
        unseen = unseen or left_out(setup.data, folds(run), lambda fold: fold_folder(out, fold))
    callback.run(0, 1, run)

    def keep(classifier: Classifier, progress: TrainState) -> None:
        classifier.load_state_dict(progress.best)
        classifier, source = known_source(run, classifier, features, fabric)
        dataclasses.replace(source, plays=plays, why_no_plays=why).save(out)
        fold = run.fold()
        seen = {"validation": (progress.best_logits["validation"].numpy(), setup.data.labels[fold.val])}
        confidence = Confidence.measure(unseen or seen, unseen=bool(unseen))
        confidence.save(out)
        classifier = whole_network(setup, classifier)
        height, width = setup.data.images.shape[1:3]
        trained = np.unique(setup.data.digests[np.concatenate([fold.train, fold.val])])
        model = Model(classifier, setup.data.class_names, height, run.config, width, trained, confidence)
        saved.save(out, model, setup.backbone, run.recipe)

    def folder_of(other: Run) -> Path:
        return fold_folder(out, other)

    record = execute(run, out, fabric, features=features, callback=callback, on_trained=keep, folder_of=folder_of)
    if fabric.is_global_zero:
        clear(out)
    return record
