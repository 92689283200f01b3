"""Check and execution of a comparison. An interrupted comparison can be resumed."""

import dataclasses
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from afield.classifier import Classifier
from afield.comparison.analysis import analyze, gallery, read_predictions
from afield.comparison.gaps import gap_hint
from afield.comparison.grid import Comparison
from afield.comparison.summary import select, summarize
from afield.errors import InputError, first_line
from afield.evaluation import shown_domains
from afield.launch.local import Executor, Launch
from afield.models import build_backbone, divide
from afield.records import Record, Summary, read_records, write_json, write_records, write_summary
from afield.runs.augmentation import check_augmentation
from afield.runs.build import build_algorithm, build_objective, check_adaptation, check_algorithm, check_targets
from afield.runs.members import check_combination
from afield.runs.run import Run
from afield.training.optimizer import build_optimizer

RECORDS, SUMMARY, ANALYSIS, GALLERY = "records.jsonl", "summary.json", "analysis.json", "gallery.json"


def check(runs: Sequence[Run]) -> None:
    """Check runs before any training: create all parts, classify a blank image, and create each split.

    Args:
        runs: runs. Those with the same configuration of the experiment are checked together.

    Raises:
        InputError: if a backbone, weights, head, loss, augmentation, algorithm or optimizer cannot be created or cannot
            be combined, the backbone does not support the image size or cannot be divided at the stage, there are too
            few domains, or a split cannot be created.
    """
    by_setup: dict[int, list[Run]] = {}
    for run in runs:
        by_setup.setdefault(id(run.setup), []).append(run)
    for same in by_setup.values():
        _check(same)


def _check(runs: Sequence[Run]) -> None:
    setup = runs[0].setup
    backbone, features = build_backbone(setup.backbone)
    size = setup.data.images.shape[1:3]
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, 3, *size))
    except (AssertionError, RuntimeError, ValueError) as error:
        what = f"backbone {setup.backbone.name} does not support images of {size[0]} x {size[1]} pixels"
        raise InputError(f"{what}: {first_line(error)}") from None
    if setup.partial is not None:
        divide(backbone, setup.partial.stage, size)
    mean, std = setup.backbone.normalization
    domains = min(run.num_domains for run in {run.held_out: run for run in runs}.values())
    for recipe in {run.recipe.name: run.recipe for run in runs}.values():
        objective = build_objective(recipe, features, len(setup.data.class_names))
        check_targets(recipe, objective, check_augmentation(setup, recipe))
        check_algorithm(setup, recipe, domains)
        check_adaptation(setup, recipe)
        check_combination(setup, recipe)
        training = recipe.train_config(setup.training)
        classifier = Classifier(backbone, objective, mean=mean, std=std, dropout=training.dropout)
        build_optimizer(build_algorithm(recipe, classifier, [1] * domains, seed=0), training)
    for run in {(run.held_out, run.seed): run for run in runs}.values():
        run.fold()


def run_comparison(comparison: Comparison, executor: Executor, launch: Launch) -> Summary:
    """Execute all unfinished runs, and write records, summary, analysis and report. Returns the summary.

    Finished runs are kept if a later run fails.

    Args:
        comparison: comparison to run. The caller must have checked its runs with `check`.
        executor: executor of the runs. The caller must have locked its folder (`afield.records.exclusive`).
        launch: executes the runs.

    Raises:
        InputError: if an argument is not valid, the folder is not writable, or a run diverges.
    """
    setup, selection, runs, out = comparison.setup, comparison.selection, comparison.runs(), executor.out
    metric = comparison.metric
    done: dict[str, Record] = {}
    try:
        for run, record in launch(runs):
            done[run.hash] = record
    finally:
        records = [done[run.hash] for run in runs if run.hash in done]
        earlier = earlier_records(out / RECORDS, {run.hash for run in runs})
        if len(records) < len(runs):
            write_records(out / RECORDS, [*records, *earlier])
    selected = select(records, selection, metric)
    protocol = None if setup.unlabeled is None else setup.unlabeled.describe()
    name = Path(setup.data.name).name
    summary = summarize(selected, name, selection, metric, protocol, comparison.baseline)
    summary = dataclasses.replace(summary, hint=gap_hint(selected))
    if executor.fabric(runs[0]).is_global_zero:
        write_records(out / RECORDS, [*selected, *earlier])
        found = read_predictions([run for run in runs if len(run.held_out) == 1], executor.folder, selection)
        shown = shown_domains(summary)
        write_json(out / ANALYSIS, analyze(setup.data, found, selection, shown))
        write_json(out / GALLERY, gallery(setup.data, found, shown))
        write_summary(out / SUMMARY, summary)
        from afield.reporting import render  # imports matplotlib, which the worker processes need not

        render(out, (selected, summary))
    return summary


def earlier_records(file: Path, runs: Collection[str]) -> list[Record]:
    """The records in a file that are not of these runs, marked as not compared. A damaged file has none."""
    try:
        found = read_records(file, without=runs) if file.exists() else []
    except InputError as error:
        warnings.warn(f"{error}; its records of earlier comparisons are lost", stacklevel=2)
        return []
    return [dataclasses.replace(record, compared=False) for record in found]
