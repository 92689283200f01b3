"""Fast AutoAugment, a search for an augmentation policy that does not train networks during the search.

The images are divided into folds. For each fold, a classifier is trained on the other folds, without a policy. The
search then evaluates candidate policies with this fixed classifier on the images of the fold. The policy combines the
best candidates of all folds.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from afield.augment import Policy
from afield.comparison.compare import check
from afield.errors import InputError
from afield.fabric import Fabric
from afield.launch.local import Executor
from afield.recipes import Recipe
from afield.runs.callback import Callback
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.search.candidates import require_optuna
from afield.search.density_matching import Study, density_loss
from afield.search.folds import SearchFold, fold_runs, searched_images, trained_fold
from afield.search.settings import Search

METHOD = "Fast AutoAugment"


def search_policy(
    setup: ExperimentConfig, recipe: Recipe, search: Search, executor: Executor, held_out: Sequence[str], seconds: float
) -> Policy:
    """Search for a policy. An interrupted search is resumed by the same call.

    On a CPU, an interrupted and resumed search finds the same policy as an uninterrupted one.

    Args:
        setup: data, backbone and training settings of the classifiers.
        recipe: recipe of the classifiers.
        search: settings of the search.
        executor: executor of the runs. The caller must have locked its folder.
        held_out: domains that the search does not use.
        seconds: time limit. After it, no further classifier is trained and no further candidate is tried.

    Raises:
        InputError: if an argument is not valid, Optuna is not installed, or the time limit is reached before the first
            candidate.

    References:
        Lim et al., "Fast AutoAugment", NeurIPS 2019, algorithm 1, without the operation Cutout.
    """
    until, callback = time.monotonic() + seconds, executor.callback
    require_optuna()
    if setup.stores:
        raise InputError(f"a policy search needs images; {setup.stores} uses features only")
    data = searched_images(setup.data, held_out)
    runs = fold_runs(dataclasses.replace(setup, data=data), recipe, search.folds, search.seed)
    check(runs)
    fabric, folds = executor.make_fabric(setup.training.precision), list[SearchFold]()
    for index, run in enumerate(runs):
        if folds and time.monotonic() > until:
            raise InputError(_too_short(f"{index} of {len(runs)} classifiers are trained"))
        callback.run(index, len(runs), run)
        folds.append(trained_fold(run, executor.out / "folds" / run.hash, fabric, callback))
    studies = [Study(fold, number, search) for number in range(search.searches) for fold in folds]
    _try_candidates(studies, search, fabric, callback, until)
    if not any(study.trials for study in studies):
        raise InputError(_too_short("the classifiers are trained"))
    return merged(studies).with_origin(
        method=METHOD,
        data={"name": Path(data.name).name, "fingerprint": data.fingerprint, "held_out": list(held_out)},
        backbone=setup.backbone.name,
        recipe=recipe.config(),
        search=dataclasses.asdict(search),
        **costs(folds, studies),
        folds=[_fold_summary(fold, studies, fabric) for fold in folds],
        **provenance(),
    )


def merged(studies: Sequence[Study]) -> Policy:
    """Combine the sub-policies of the best candidates of all studies, without duplicates."""
    lines = [line for study in studies for trial in study.best() for line in trial.policy]
    return Policy.parse(dict.fromkeys(lines))


def _try_candidates(studies: Sequence[Study], search: Search, fabric: Fabric, callback: Callback, until: float) -> None:
    """Run trials until all are done or the time limit is reached. The studies take turns, to make equal progress."""
    for trial in range(search.trials):
        for place, study in enumerate(studies):
            if len(study.trials) > trial:
                continue
            if time.monotonic() > until:
                return
            loss = study.step(fabric)
            callback.trial(trial * len(studies) + place + 1, search.trials * len(studies), loss)


def _too_short(done: str) -> str:
    return f"--time-budget ended before the first candidates were tried ({done}); the same command continues from here"


def costs(folds: Sequence[SearchFold], studies: Sequence[Study]) -> dict[str, Any]:
    """The number of trials, and the duration of training and of trials in seconds, over all calls."""
    classifiers = sum(fold.record.duration_s for fold in folds)
    tried = [trial.seconds for study in studies for trial in study.trials]
    seconds = {"classifiers": classifiers, "trials": sum(tried), "all": classifiers + sum(tried)}
    return {"trials": len(tried), "seconds": {name: round(value, 3) for name, value in seconds.items()}}


def _fold_summary(fold: SearchFold, studies: Sequence[Study], fabric: Fabric) -> dict[str, Any]:
    """The loss of the classifier on its unseen images, without and with the best candidate of each search."""
    plain = density_loss(fold, Policy.parse(["identity 0.0"]), 1, torch.Generator(), fabric)
    best = [trial.loss for study in studies if study.fold is fold for trial in study.best()[:1]]
    return {"run": fold.record.run, "images": len(fold.unseen), "plain_loss": plain, "best_losses": best}
