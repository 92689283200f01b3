"""``afield compare --label-budget``: labeling strategies compared."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

from afield.errors import InputError
from afield.validation import check_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from afield.commands.compare import Compare
    from afield.comparison.labeling.measure import Job
    from afield.comparison.labeling.summary import LabelingSummary
    from afield.runs.callback import Callback
    from afield.runs.config import ExperimentConfig

SEEDS = 50
"""Default number of seeds. A repetition takes about a second, and few repetitions mislead."""

OPTIONS = {
    *("data", "layout", "image_size", "on_bad_image", "backbone", "stem", "weights", "freeze", "device", "memory"),
    *("label_budget", "strategies", "seeds", "jobs", "dry_run", "out"),
}
"""Options of `afield compare` that apply to labeling strategies."""


def check_label_budget(options: Compare) -> None:
    """Reject options that are invalid or do not apply."""
    from afield.comparison.labeling.study import strategies_to_compare

    for field in dataclasses.fields(options):
        if field.name not in OPTIONS and getattr(options, field.name) != field.default:
            name = f"--{field.name.replace('_', '-')}"
            raise InputError(f"{name} does not apply to labeling strategies, which --label-budget compares")
    check_number("--label-budget", options.label_budget, 1, 1_000_000, whole=True)
    strategies_to_compare(options.strategies)


def compare_strategies(options: Compare) -> LabelingSummary | dict[str, Any]:
    """Compare strategies and return the summary that is written to ``summary.json``; a dry run returns the plan."""
    from afield.comparison.labeling.measure import check_images, claim, measure, plan
    from afield.comparison.labeling.report import render_labeling
    from afield.comparison.labeling.summary import summarize_labeling
    from afield.console import held, watching
    from afield.records import write_json
    from afield.runs.features import stored_features

    out = options.run_folder
    if options.dry_run:
        with watching() as callback:
            setup, jobs = _load(options, callback, _stand_in)
            check_images(out, _images(setup))
            return plan(jobs, out, at_once=options.jobs, features_s=_features_seconds(options, setup))
    with held(out), watching() as callback:
        fabric = options.make_fabric("32")
        setup, jobs = _load(options, callback, lambda setup: stored_features(setup, "none", fabric, callback.features))
        claim(out, _images(setup))
        records = measure(jobs, out, processes=options.jobs, callback=callback)
        data, backbone = _images(setup)["data"], setup.backbone
        summary = summarize_labeling(records, data["name"], f"{backbone.name}, weights: {backbone.weights}, frozen")
        write_json(out / "summary.json", dataclasses.asdict(summary))
        render_labeling(out)
        return summary


def _load(
    options: Compare, callback: Callback, features: Callable[[ExperimentConfig], Any]
) -> tuple[ExperimentConfig, list[Job]]:
    """The experiment with a frozen backbone, and the repetitions on its features."""
    from afield.comparison.labeling.measure import jobs
    from afield.comparison.labeling.study import LabelingStudy, budgets_up_to, check_budget, strategies_to_compare
    from afield.models.weights import PACKAGE, PACKAGE_BACKBONE

    if options.backbone is None and options.weights is None:
        options = dataclasses.replace(options, backbone=PACKAGE_BACKBONE, weights=PACKAGE)
    setup = dataclasses.replace(options, freeze=True).load_setup(callback)
    callback.start(setup, "each domain in turn is the new place")
    if setup.backbone.weights == "none":
        warnings.warn(
            f"the features of {setup.backbone.name} are random without weights; --backbone and --weights select "
            "pretrained ones",
            stacklevel=2,
        )
    data, budget = setup.data, options.label_budget
    assert budget is not None
    check_budget(data, budget)
    study = LabelingStudy(features(setup), data.labels, data.domains, data.domain_names, budgets_up_to(budget))
    return setup, jobs(study, strategies_to_compare(options.strategies), options.seeds or SEEDS)


def _images(setup: ExperimentConfig) -> dict[str, Any]:
    """What determines the features."""
    return {name: setup.config()[name] for name in ("data", "backbone")}


def _stand_in(setup: ExperimentConfig) -> Any:
    """Random numbers with the shape of the features, to estimate durations."""
    import numpy as np

    from afield.runs.features import frozen_backbone

    shape = (len(setup.data), frozen_backbone(setup.backbone)[1])
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _features_seconds(options: Compare, setup: ExperimentConfig) -> float:
    from afield.comparison.estimate import features_seconds

    return features_seconds(setup, "none", options.make_fabric("32"))
