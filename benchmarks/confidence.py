"""What a model can be left to decide in a new place, and how well it knows: temperature, thresholds, unusual images.

    python benchmarks/confidence.py --data PACS --out results/confidence [--seeds 5] [--quick]

Each domain in turn is the new place. The temperature and the threshold of a model come from its training domains
alone: each of them is left out in turn of a further model, which predicts it. Beside them stand the usual temperature
and threshold, from the validation images of the training domains. The test images of the new place only measure. Scores
of unusual images are ordered by how well they tell the left-out training domains from validation images; the table
gives how well they tell the new place. Models are heads on frozen features. Finished heads and measurements are kept
under runs/, and the same command continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from afield.adaptation import FeatureStatistics, SourceStatistics
from afield.data import Validation, load, make_fold
from afield.evaluation import accuracy, estimate, expected_calibration_error, negative_log_likelihood
from afield.evaluation.confidence import Scored, fit_temperature, threshold_for
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.recipes import Recipe, resolve
from afield.records import read_json, write_json, write_jsonl
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import PREDICTIONS, execute
from afield.runs.features import stored_features
from afield.runs.provenance import provenance
from afield.runs.run import Run
from afield.training import checkpoint

TARGET = 0.95
RECIPES = ("erm", "flattening")
COVERAGES = tuple(round(0.05 * i, 2) for i in range(1, 21))

Part = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Logits ``[N, K]`` and the rows of the images ``[N]``."""


class Heads:
    """Heads on frozen features by recipe, domains left out and seed; kept once they are trained."""

    def __init__(self, setup: ExperimentConfig, folder: Path) -> None:
        self.setup, self.folder, self.fabric = setup, folder, make_fabric("cpu", "32")
        features = stored_features(setup, "none", self.fabric)
        assert features is not None
        self.features = features

    def predictions(self, recipe: Recipe, held_out: Sequence[str], seed: int) -> dict[str, Part]:
        """Predictions of the best validation epoch: for the validation images, and for each left-out domain."""
        run = Run(self.setup, recipe, tuple(sorted(held_out)), seed)
        execute(run, self.folder / run.hash, self.fabric, features=self.features)
        tensors, _ = checkpoint.load(self.folder / run.hash / PREDICTIONS)
        fold = make_fold(self.setup.data, run.held_out, self.setup.validation, seed)
        rows = {"validation": fold.val, **fold.tests}
        logits = {name: tensors["best/" + (name if name == "validation" else f"test/{name}")] for name in rows}
        return {name: (logits[name].numpy(), rows[name]) for name in rows}

    def unusual(self, known: Sequence[str], part: Part, validation: Part, seed: int) -> dict[str, float]:
        """AUROC of each score for telling the images of a part from validation images of the known domains."""
        setup, labels = self.setup, torch.from_numpy(self.setup.data.labels)
        held_out = [name for name in setup.data.domain_names if name not in known]
        train = make_fold(setup.data, held_out, setup.validation, seed).train
        seen = torch.from_numpy(self.features[train])
        domains = torch.from_numpy(setup.data.domains[train])
        classes, names = len(setup.data.class_names), setup.data.domain_names
        statistics = SourceStatistics.of(seen, labels[train], domains, names, classes)
        means = torch.stack([seen[labels[train] == k].mean(dim=0) for k in range(classes)])
        within = FeatureStatistics.of(seen - means[labels[train]]).std
        truth = np.concatenate([np.ones(len(part[1])), np.zeros(len(validation[1]))])
        found: dict[str, list[NDArray]] = {}
        for logits, rows in (part, validation):
            features, wide = torch.from_numpy(self.features[rows]), logits.astype(np.float64)
            to_class = [((features - mean) / within).square().mean(dim=1).sqrt() for mean in means]
            scores = {
                "probability": -softmax(wide, axis=1).max(axis=1),
                "max logit": -wide.max(axis=1),
                "energy": -logsumexp(wide, axis=1),
                "distance to domains": statistics.distances(features).numpy(),
                "distance to classes": torch.stack(to_class).amin(dim=0).numpy(),
            }
            for name, score in scores.items():
                found.setdefault(name, []).append(score)
        return {name: float(roc_auc_score(truth, np.concatenate(each))) for name, each in found.items()}


def case(heads: Heads, recipe: Recipe, new: str, seed: int) -> dict[str, Any]:
    """Everything that is measured for one recipe, new place and seed."""
    data, known = heads.setup.data, [name for name in heads.setup.data.domain_names if name != new]
    model = heads.predictions(recipe, [new], seed)
    folds = {name: heads.predictions(recipe, [new, name], seed) for name in known}
    labeled = {part: (logits, data.labels[rows]) for part, (logits, rows) in model.items()}
    left_out = {name: (found[name][0], data.labels[found[name][1]]) for name, found in folds.items()}
    temperatures = {
        "none": 1.0,
        "validation": fit_temperature([labeled["validation"]]),
        "left-out domains": fit_temperature([*left_out.values()]),
    }
    logits, labels = labeled[new]

    def scored(temperature: str, parts: dict[str, tuple[NDArray, NDArray]]) -> list[Scored]:
        return [Scored.of(*part, temperatures[temperature]) for part in parts.values()]

    on_folds = scored("left-out domains", left_out)
    thresholds = {
        "validation": threshold_for(TARGET, scored("validation", {"": labeled["validation"]})),
        "left-out domains together": threshold_for(TARGET, [_joined(on_folds)]),
        "each left-out domain": threshold_for(TARGET, on_folds),
        "oracle": threshold_for(TARGET, scored("left-out domains", {"": labeled[new]})),
    }
    left = {}
    for rule, threshold in thresholds.items():
        temperature = temperatures["validation" if rule == "validation" else "left-out domains"]
        coverage, right = Scored.of(logits, labels, temperature).accepted(threshold)
        left[rule] = {"threshold": min(threshold, 2.0), "coverage": coverage, "accuracy": right}
    final = Scored.of(logits, labels, temperatures["left-out domains"])
    played = [
        heads.unusual([other for other in known if other != name], found[name], found["validation"], seed)
        for name, found in folds.items()
    ]
    return {
        "recipe": recipe.name,
        "domain": new,
        "seed": seed,
        "images": len(labels),
        "accuracy": accuracy(logits, labels),
        "temperature": temperatures,
        "ece": {name: expected_calibration_error(logits / value, labels) for name, value in temperatures.items()},
        "nll": {name: negative_log_likelihood(logits / value, labels) for name, value in temperatures.items()},
        "left_to_the_model": left,
        "risk": dict(zip(map(str, COVERAGES), final.risk_at(COVERAGES).tolist(), strict=True)),
        "auroc": heads.unusual(known, model[new], model["validation"], seed),
        "auroc_left_out": {name: float(np.mean([each[name] for each in played])) for name in played[0]},
    }


def _joined(parts: Sequence[Scored]) -> Scored:
    return Scored(np.concatenate([p.confidence for p in parts]), np.concatenate([p.right for p in parts]))


def summarize(cases: Sequence[dict[str, Any]], domains: Sequence[str]) -> dict[str, Any]:
    """Means over seeds with intervals by recipe and domain, and the average over domains."""
    seeds = sorted({each["seed"] for each in cases})

    def over(recipe: str, domain: str, *path: str) -> dict[str, Any] | None:
        """The estimate of a value over seeds; None if it lacks in a seed."""
        values = []
        for seed in seeds:
            of: list[Any] = [c for c in cases if (c["recipe"], c["seed"]) == (recipe, seed)]
            of = [each for each in of if domain in (each["domain"], "average")]
            for key in path:
                of = [each[key] for each in of]
            if None in of:
                return None
            values.append(float(np.mean(of)))
        found = estimate(values)
        return {"mean": found.mean, "sd": found.sd, "n": found.n, "ci95": found.ci95}

    first = cases[0]
    return {
        recipe: {
            domain: {
                "accuracy": over(recipe, domain, "accuracy"),
                **{
                    key: {name: over(recipe, domain, key, name) for name in first[key]}
                    for key in ("temperature", "ece", "nll", "auroc", "auroc_left_out", "risk")
                },
                "left_to_the_model": {
                    rule: {
                        what: over(recipe, domain, "left_to_the_model", rule, what) for what in ("coverage", "accuracy")
                    }
                    for rule in first["left_to_the_model"]
                },
            }
            for domain in (*domains, "average")
        }
        for recipe in dict.fromkeys(each["recipe"] for each in cases)
    }


def main() -> None:
    """Measure, write the records, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/confidence"), help="folder of records and summary")
    parser.add_argument("--heads", type=Path, default=Path("runs/confidence-heads"), help="folder of finished heads")
    parser.add_argument("--quick", action="store_true", help="one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    backbone = BackboneConfig(args.backbone, weights=args.weights)
    data = load(args.data, image_size=args.image_size or backbone.image_size)
    setup = ExperimentConfig(data, backbone, True, Validation(), choose_training("frozen"))
    heads, seeds = Heads(setup, args.heads), 1 if args.quick else args.seeds
    cases = []
    for seed in range(seeds):
        for recipe in resolve(RECIPES):
            for new in data.domain_names:
                file = args.heads / f"{recipe.name}-{new}-{seed}.json"
                if not file.exists():
                    write_json(file, case(heads, recipe, new, seed))
                cases.append(read_json(file))
                left = cases[-1]["left_to_the_model"]["each left-out domain"]["coverage"]
                print(f"seed {seed}, {recipe.name}, {new}: {100 * left:.1f} % left to the model", flush=True)
    summary = {
        "benchmark": "confidence",
        "data": Path(data.name).name,
        "backbone": backbone.name,
        "weights": backbone.weights_key,
        "seeds": seeds,
        "target": TARGET,
        "recipes": summarize(cases, data.domain_names),
    }
    write_jsonl(args.out / "cases.jsonl", cases)
    write_json(args.out / "summary.json", summary | provenance())
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
