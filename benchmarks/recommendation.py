"""How often is a recipe recommended that is no better at a new place? Error rates and power of four rules.

    python benchmarks/recommendation.py --out results/recommendation.json [--quick]

Accuracies are simulated: a recipe has a mean, a random effect of each domain (a sample of all places), and noise of
each seed. The standard deviations are those measured on PACS with a frozen backbone: 1.52 points between domains for a
difference of two recipes, 0.5 points between seeds for a recipe. In the first half of the simulations no recipe is
better than the baseline: each recommendation is an error. In the second half one recipe is better by 2 points.

Rules, each for the recipe with the best average and with a Bonferroni correction for the number of recipes:

* ``seeds``: the interval over seeds, on these domains, excludes zero.
* ``domains``: the interval over domains, at a new place, excludes zero.
* ``both``: both intervals exclude zero; this is the rule of `afield compare`.
* ``pooled``: as ``domains``, with a variance that is pooled over all recipes, as in a mixed model with equal variances.

The last line is one JSON object.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from afield.evaluation import wilson
from afield.records import write_json
from afield.runs.provenance import provenance

DOMAIN_SD, SEED_SD, GAIN = 1.52 / np.sqrt(2), 0.5, 2.0
"""In points: of one recipe between domains, of one run between seeds, and of the better recipe."""

RECIPES, DOMAINS, SEEDS = (2, 4, 8, 14), (3, 4, 6, 10), (3, 5, 10)
KINDS = ("equal", "unequal", "heavy", "shared")
"""Deviations: equal for all recipes; from a third to three times of that, smallest for the baseline; t with 3 degrees
of freedom; equal, with noise of the seeds that is the same in all domains."""

Array = NDArray[np.float64]


def simulate(rng: np.random.Generator, kind: str, shape: tuple[int, int, int, int], gain: float) -> Array:
    """Accuracies in points, ``[N, R, E, S]``; recipe 0 is the baseline, recipe 1 is better by `gain`."""
    count, recipes, domains, _ = shape

    def noise(size: tuple[int, ...]) -> Array:
        return rng.standard_t(3, size) / np.sqrt(3) if kind == "heavy" else rng.standard_normal(size)

    factor = np.geomspace(1 / 3, 3, recipes) if kind == "unequal" else np.ones(recipes)
    effects = DOMAIN_SD * factor[:, None] * noise((count, recipes, domains))
    seeds = noise((count, recipes, 1, shape[3])) if kind == "shared" else noise(shape)
    values = effects[..., None] + SEED_SD * seeds
    values[:, 1] += gain
    return values


def recommended(values: Array) -> dict[str, NDArray[np.int64]]:
    """The recipe that each rule recommends in each simulation, ``[N]``, or 0 for none."""
    count, recipes, domains, _ = values.shape
    best = values.mean(axis=(2, 3)).argmax(axis=1)
    difference = values[np.arange(count), best] - values[:, 0]
    tail = 0.025 / (recipes - 1)
    means = values.mean(axis=3)
    residuals = means - means.mean(axis=1, keepdims=True) - means.mean(axis=2, keepdims=True)
    residuals += means.mean(axis=(1, 2), keepdims=True)
    freedom = (recipes - 1) * (domains - 1)
    error = np.sqrt(2 * (residuals**2).sum(axis=(1, 2)) / freedom / domains)

    def lower(samples: Array) -> Array:
        size = samples.shape[1]
        half = stats.t.isf(tail, size - 1) * samples.std(axis=1, ddof=1) / np.sqrt(size)
        return samples.mean(axis=1) - half

    above = {
        "seeds": lower(difference.mean(axis=1)),
        "domains": lower(difference.mean(axis=2)),
        "pooled": difference.mean(axis=(1, 2)) - stats.t.isf(tail, freedom) * error,
    }
    above["both"] = np.minimum(above["seeds"], above["domains"])
    return {rule: np.where((best > 0) & (low > 0), best, 0) for rule, low in above.items()}


def cell(kind: str, recipes: int, domains: int, seeds: int, count: int) -> dict[str, object]:
    """Error rates and power of the rules for one setting."""
    rng = np.random.default_rng([KINDS.index(kind), recipes, domains, seeds])
    shape = count, recipes, domains, seeds
    wrong = recommended(simulate(rng, kind, shape, 0.0))
    right = recommended(simulate(rng, kind, shape, GAIN))
    return {
        "kind": kind,
        "recipes": recipes,
        "domains": domains,
        "seeds": seeds,
        "errors": {rule: int((found > 0).sum()) for rule, found in wrong.items()},
        "found": {rule: int((found == 1).sum()) for rule, found in right.items()},
    }


def main() -> None:
    """Simulate all cells, print the worst error rate of each rule, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the record")
    parser.add_argument("--simulations", type=int, default=4000, help="of each kind in each cell")
    parser.add_argument("--quick", action="store_true", help="200 simulations, few cells")
    args = parser.parse_args()
    grid = itertools.product(KINDS, RECIPES, DOMAINS, SEEDS)
    if args.quick:
        args.simulations, grid = 200, itertools.product(KINDS, (2, 8), (4,), (3,))
    cells = [cell(*setting, args.simulations) for setting in grid]
    result = {"benchmark": "recommendation", "simulations": args.simulations, "cells": cells, **provenance()}
    if args.out:
        write_json(args.out, result)
    for rule in ("seeds", "domains", "both", "pooled"):
        errors = [each["errors"][rule] for each in cells]
        low, high = (100 * end for end in wilson(max(errors), args.simulations))
        mean = 100 * float(np.mean(errors)) / args.simulations
        power = 100 * float(np.mean([each["found"][rule] for each in cells])) / args.simulations
        print(f"{rule:8} errors: mean {mean:.1f} %, worst cell [{low:.1f}, {high:.1f}] %; finds +2: {power:.0f} %")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
