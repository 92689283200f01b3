"""Compare recipes on places never seen: the whole grid, resumable, and what is written of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from afield.classifier import Classifier
from afield.data import make_fold, parts_of
from afield.errors import InputError, first_line
from afield.experiments.analysis import analyse, gallery, read_predictions
from afield.experiments.augmentation import check_augmentation
from afield.experiments.build import build_algorithm, build_objective, check_algorithm, check_targets
from afield.experiments.features import frozen_features
from afield.experiments.grid import comparison
from afield.experiments.recipes import Recipe
from afield.experiments.run import Run, execute
from afield.experiments.setup import Setup
from afield.experiments.summary import select, summarise
from afield.experiments.watcher import Watcher
from afield.models import build_backbone
from afield.records import HeldError, exclusive, write_json, write_jsonl
from afield.reporting import render

RECORDS, SUMMARY, ANALYSIS, GALLERY = "records.jsonl", "summary.json", "analysis.json", "gallery.json"


def check(runs: Sequence[Run]) -> None:
    """Build everything once, look at one blank image and draw each split, so that a mistake shows before any training.

    Args:
        runs: of one setup.

    Raises:
        InputError: a backbone, weights, head, loss, augmentation or algorithm that cannot be built or do not go
            together, images of a size that the backbone does not take, too few domains, or splits that cannot be drawn.
    """
    setup = runs[0].setup
    backbone, features = build_backbone(setup.backbone)
    size = setup.data.images.shape[1:3]
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, 3, *size))
    except (AssertionError, RuntimeError, ValueError) as error:
        what = f"backbone {setup.backbone.name} does not take images of {size[0]} x {size[1]}"
        raise InputError(f"{what}: {first_line(error)}") from None
    mean, std = setup.backbone.normalisation
    for recipe in {run.recipe.name: run.recipe for run in runs}.values():
        objective = build_objective(recipe, features, len(setup.data.class_names))
        check_targets(recipe, objective, check_augmentation(setup, recipe))
        domains = min(run.num_domains for run in runs)
        check_algorithm(setup, recipe, domains)
        dropout = recipe.training(setup.training).dropout
        classifier = Classifier(backbone, objective, mean=mean, std=std, dropout=dropout)
        build_algorithm(recipe, classifier, [1] * domains, seed=0)
    for part in parts_of(setup.data):
        make_fold(setup.data, (part,), setup.validation, seed=0)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """So many threads of PyTorch for as long as the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_free(
    runs: Sequence[Run],
    out: Path,
    fabric: Fabric,
    features: NDArray[np.float32] | None,
    watch: Watcher,
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Execute, one after the other, the runs that no other process is at; each with its record.

    A run's folder is held while it is executed, so that any number of processes can go through the same list.
    """
    for index, run in enumerate(runs):
        watch.run(index, len(runs), run)
        folder = out / "runs" / run.hash
        try:
            with nullcontext() if fabric.world_size > 1 else exclusive(folder):
                record = execute(run, folder, fabric, features=features, watch=watch)
        except HeldError:
            continue
        yield run, record


def help_comparison(
    setup: Setup, recipes: Sequence[Recipe], *, seeds: int, selection: str, out: Path, fabric: Fabric, threads: int
) -> None:
    """Execute what nobody else is at; the process that asked for help writes the summary."""
    runs = comparison(setup, recipes, seeds, selection)
    features = frozen_features(setup.data, setup.backbone, fabric) if setup.freeze else None
    with cpu_threads(threads):
        for _ in run_free(runs, out, fabric, features, Watcher()):
            pass


def run_comparison(
    setup: Setup,
    recipes: Sequence[Recipe],
    *,
    seeds: int,
    selection: str,
    out: Path,
    fabric: Fabric,
    watch: Watcher,
    threads: int,
    crew: AbstractContextManager[None],
) -> dict[str, Any]:
    """Run what is not done yet of the grid, then write records, summary, analysis and report into `out`.

    Finished runs are kept whatever happens to later ones. Returns the summary.

    The caller holds `out` for itself (`afield.records.exclusive`). The `crew`, which works on the same runs
    (`help_comparison`), is called when the features are there, and let go when all runs are done. A run has
    `threads` threads, whoever executes it: the number changes the rounding of its result.

    Raises:
        InputError: bad input, `out` not writable, or a run that diverged.
    """
    runs = comparison(setup, recipes, seeds, selection)
    check(runs)
    features = frozen_features(setup.data, setup.backbone, fabric, watch.features) if setup.freeze else None
    done: dict[str, dict[str, Any]] = {}
    try:
        with cpu_threads(threads), crew:
            for run, record in run_free(runs, out, fabric, features, watch):
                done[run.hash] = record
            for run in runs:
                if run.hash not in done:
                    with exclusive(out / "runs" / run.hash, wait=True):
                        done[run.hash] = execute(run, out / "runs" / run.hash, fabric, features=features)
    finally:
        records = [done[run.hash] for run in runs if run.hash in done]
        if len(records) < len(runs):
            write_jsonl(out / RECORDS, records)
    selected = select(records, selection)
    summary = summarise(selected, Path(setup.data.name).name, selection)
    if fabric.is_global_zero:
        write_jsonl(out / RECORDS, selected)
        found = read_predictions(runs, out / "runs", selection)
        write_json(out / ANALYSIS, analyse(setup.data, found, selection))
        write_json(out / GALLERY, gallery(setup.data, found))
        write_json(out / SUMMARY, summary)
        render(out)
    return summary
