"""Adaptation to a new place by unlabeled images, and forecasts of the accuracy there.

    python benchmarks/adaptation.py --data PACS --out results/adaptation [--seeds 5] [--quick]

Each domain in turn is the new place. A random half of its images is given without labels, and every method is tested
on the other half; the curves give fewer images of that half, drawn three times. What a method needs to know beside,
and what `auto` and the forecasts choose by, comes from the training domains alone: each of them plays the new place of
a model that was trained without it and without the new place. Models are heads on frozen features; with ``--data
digits``, small networks trained from images. Finished ones are kept under runs/, and the same command goes on. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from afield.adaptation import build_adaptation, with_backbone
from afield.adaptation.calibration import Candidate, Play, forecast_all, from_json, play, to_json
from afield.adaptation.choice import choose, forecast
from afield.adaptation.features import backbone_features
from afield.adaptation.forecasts import seed_agreement
from afield.classifier import Classifier, FeatureNorm
from afield.data import Validation, load, make_fold
from afield.data.splits import Unlabeled
from afield.deploy.source import Source, known_source
from afield.evaluation import paired_difference
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.recipes import Recipe, resolve
from afield.records import read_json, seed_for, write_json, write_jsonl
from afield.runs.build import build_head_classifier
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.features import stored_features
from afield.runs.provenance import provenance
from afield.runs.run import Run
from afield.training import TrainState, checkpoint

SIZES = (10, 20, 50, 100, 500)
DRAWS = 3
ROWS = {
    "erm": ("erm", ""),
    "flattening": ("flattening", ""),
    "erm+standardize, as trained": ("erm+standardize", ""),
    "erm, standardize afterwards": ("erm", "standardize"),
    "erm, standardize+t3a afterwards": ("erm", "standardize+t3a"),
    "erm+t3a": ("erm", "t3a"),
    "erm+shot": ("erm", "shot"),
    "erm+standardize": ("erm+standardize", "standardize"),
    "erm+standardize+t3a": ("erm+standardize", "standardize+t3a"),
    "erm+standardize+shot": ("erm+standardize", "standardize+shot"),
    "flattening+t3a": ("flattening", "t3a"),
    "flattening+shot": ("flattening", "shot"),
    "flattening, standardize+t3a afterwards": ("flattening", "standardize+t3a"),
    "flattening+standardize+t3a": ("flattening+standardize", "standardize+t3a"),
    "erm, auto": ("erm", "auto"),
    "flattening, auto": ("flattening", "auto"),
    "erm+standardize, auto": ("erm+standardize", "auto"),
}
"""Name in tables -> recipe that is trained, and what adapts its head."""

PLAYED = ("erm", "flattening", "erm+standardize")
"""The recipes whose training domains play the new place."""

FORECAST = ("erm", "flattening")


class Head(NamedTuple):
    """See `Heads.head`."""

    classifier: Classifier
    source: Source
    features: Tensor
    folder: Path


class Heads:
    """Heads by recipe, domains left out and seed, with the features of their backbone; kept once they are trained."""

    def __init__(self, setup: ExperimentConfig, features: np.ndarray | None, folder: Path) -> None:
        self.setup, self.features, self.folder = setup, features, folder
        self.fabric = make_fabric("cpu", "32")

    def head(self, recipe: Recipe, held_out: Iterable[str], seed: int) -> Head:
        """The head as it is used, what is known of its training data, all images' features, and its folder."""
        run = Run(self.setup, recipe, tuple(sorted(held_out)), seed)
        folder = self.folder / run.hash

        def keep(classifier: Classifier, progress: TrainState) -> None:
            classifier.load_state_dict(progress.best)
            used, source = known_source(run, classifier, self.features, self.fabric)
            source.save(folder)
            checkpoint.save(folder / "head.safetensors", with_backbone(used, nn.Identity()).state_dict(), {})
            if self.features is None:
                images = torch.from_numpy(self.setup.data.images).permute(0, 3, 1, 2)
                np.save(folder / "features.npy", backbone_features(used, images).numpy())

        execute(run, folder, self.fabric, features=self.features, on_trained=keep)
        features = np.load(folder / "features.npy") if self.features is None else self.features
        tensors, _ = checkpoint.load(folder / "head.safetensors")
        classifier = build_head_classifier(self.setup, recipe, seed, features.shape[1])
        classifier.feature_norm = FeatureNorm(features.shape[1]) if "feature_norm.mean" in tensors else None
        classifier.load_state_dict(tensors)
        source = Source.load(folder)
        assert source is not None
        return Head(classifier.eval(), source, torch.from_numpy(np.array(features)), folder)

    @property
    def labels(self) -> Tensor:
        """Of all images."""
        return torch.from_numpy(self.setup.data.labels)

    def of(self, domain: str) -> Tensor:
        """Which images are of a domain."""
        return torch.from_numpy(self.setup.data.domains == self.setup.data.domain_names.index(domain))

    def plays(self, recipe: Recipe, new: str, seed: int) -> list[Play]:
        """How the training domains of a head without `new` played the new place."""
        found = []
        for domain in self.setup.data.domain_names:
            if domain != new:
                head, rows = self.head(recipe, (new, domain), seed), self.of(domain)
                path = head.folder / f"plays-{domain}.json"
                if not path.exists():
                    known = {"source": head.source.statistics, "reference": head.source.reference, "domain": domain}
                    played = play(head.classifier, head.features[rows], self.labels[rows], seed=seed, **known)
                    write_json(path, to_json(played))
                found += from_json(read_json(path))
        return found


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """As a fraction."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def measure(heads: Heads, new: str, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Tensor]]:
    """Accuracies of all rows at all numbers of images, forecasts, and logits by recipe, for one new place and seed."""
    setup = heads.setup
    fold = make_fold(setup.data, (new,), setup.validation, seed, Unlabeled(0.5))
    given, tested = torch.from_numpy(fold.adapt[new]), torch.from_numpy(fold.tests[new])
    labels = heads.labels[tested]
    recipes = {recipe.name: recipe for recipe in resolve(sorted({name for name, _ in ROWS.values()}))}
    trained = {name: heads.head(recipe, (new,), seed) for name, recipe in recipes.items()}
    plays = {name: heads.plays(recipes[name], new, seed) for name in PLAYED}
    generator = torch.Generator().manual_seed(seed_for("curve", seed, new))
    orders = [torch.randperm(len(given), generator=generator) for _ in range(DRAWS)]
    results, expected = [], []
    for images in (*(size for size in SIZES if size < len(given)), len(given)):
        for order in orders if images < len(given) else orders[:1]:
            some = given[order[:images]]
            about = {"domain": new, "seed": seed, "images": images, "all": images == len(given)}
            for row, (name, method) in ROWS.items():
                head, candidate = trained[name], Candidate(tuple(method.split("+")) if method else ())
                chosen = {}
                if method == "auto":
                    candidate = choose(plays[name], images).candidate
                    chosen = {"chosen": candidate.text, "pseudo_count": candidate.pseudo_count}
                adapted = candidate.build().adapt(head.classifier, head.features[some], head.source.statistics)
                with torch.no_grad():
                    found = accuracy(adapted.logits(head.features[tested]), labels)
                results.append({**about, "row": row, **chosen, "accuracy": found})
            for name in FORECAST:
                head = trained[name]
                values = forecast_all(
                    head.classifier, head.features[some], head.source.statistics, head.source.reference
                )
                said = forecast(values, plays[name], images)
                with torch.no_grad():
                    truth = accuracy(head.classifier.logits(head.features[tested]), labels)
                interval = {"forecast": said.accuracy, "low": said.low, "high": said.high, "method": said.method}
                expected.append({**about, "recipe": name, "accuracy": truth, "values": values, **interval})
    with torch.no_grad():
        logits = {name: trained[name].classifier.logits(trained[name].features[heads.of(new)]) for name in FORECAST}
    return results, expected, logits


def table(results: Sequence[dict[str, Any]], domains: Sequence[str]) -> dict[str, Any]:
    """Each row with all images: accuracy by domain, average, the gain over erm, and how many domains gain."""
    cells: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for each in results:
        if each["all"]:
            cells[each["row"]][each["domain"]][each["seed"]] = each["accuracy"]
    seeds = sorted({each["seed"] for each in results})
    averages = {row: [np.mean([of[domain][seed] for domain in domains]) for seed in seeds] for row, of in cells.items()}
    summary = {}
    for row, of in cells.items():
        means = {domain: float(np.mean([*of[domain].values()])) for domain in domains}
        erm = {domain: float(np.mean([*cells["erm"][domain].values()])) for domain in domains}
        gain = paired_difference(averages[row], averages["erm"])
        summary[row] = {
            "domains": means,
            "average": float(np.mean(averages[row])),
            "gain": gain.mean,
            "gain_ci95": gain.ci95,
            "domains_that_gain": sum(means[domain] > erm[domain] for domain in domains),
            "worst_domain_gain": min(means[domain] - erm[domain] for domain in domains),
        }
    return summary


def judge_auto(results: Sequence[dict[str, Any]], rows: dict[str, Any]) -> dict[str, Any]:
    """Of each recipe: the gain of `auto` over the model as it is, the best fixed method's, and what was chosen."""
    found = {}
    for name in PLAYED:
        fixed = {row: of["average"] for row, of in rows.items() if ROWS[row][0] == name and ROWS[row][1] != "auto"}
        start = fixed["erm+standardize, as trained" if name == "erm+standardize" else name]
        best = max(fixed, key=lambda row: fixed[row])
        chosen = Counter(each["chosen"] for each in results if each["all"] and each["row"] == f"{name}, auto")
        gain = rows[f"{name}, auto"]["average"] - start
        found[name] = {"gain": gain, "best": best, "best_gain": fixed[best] - start, "chosen": dict(chosen)}
    return found


def curves(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Each row's accuracy, averaged over domains, seeds and draws, by the number of images; ``all`` for the half."""
    cells: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for each in results:
        cells[each["row"]]["all" if each["all"] else str(each["images"])][each["domain"]].append(each["accuracy"])
    return {
        row: {images: float(np.mean([np.mean(of) for of in by_domain.values()])) for images, by_domain in found.items()}
        for row, found in cells.items()
    }


def judge_forecasts(expected: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean absolute error of each forecast and of the chosen one; coverage and width of the intervals."""
    found = {}
    for images in sorted({"all" if each["all"] else str(each["images"]) for each in expected}):
        cases = [each for each in expected if images == ("all" if each["all"] else str(each["images"]))]
        errors = {name: [abs(each["values"][name] - each["accuracy"]) for each in cases] for name in cases[0]["values"]}
        shown = [each for each in cases if each["low"] is not None]
        found[images] = {
            "cases": len(cases),
            "errors": {name: float(np.mean(values)) for name, values in errors.items()},
            "error": float(np.mean([abs(each["forecast"] - each["accuracy"]) for each in cases])),
            "coverage": float(np.mean([each["low"] <= each["accuracy"] <= each["high"] for each in shown])),
            "width": float(np.mean([each["high"] - each["low"] for each in shown])),
        }
    return found


def agreement(heads: Heads, logits: dict[tuple[str, str], list[Tensor]]) -> float:
    """Mean absolute error of the agreement of seeds: logits of all seeds by recipe and new place."""
    errors = []
    for (_, new), seeds in logits.items():
        errors += [abs(seed_agreement(seeds) - accuracy(one, heads.labels[heads.of(new)])) for one in seeds]
    return float(np.mean(errors))


def seconds(heads: Heads) -> dict[str, float]:
    """What adapting to 2,000 cached features, and a forecast from them, take."""
    head = heads.head(resolve(["erm"])[0], heads.setup.data.domain_names[:1], 0)
    features = head.features[torch.arange(2000) % len(head.features)]
    began = time.perf_counter()
    build_adaptation(["standardize", "t3a"]).adapt(head.classifier, features, head.source.statistics)
    adapted = time.perf_counter()
    forecast_all(head.classifier, features, head.source.statistics, head.source.reference)
    return {"adapt_s": round(adapted - began, 3), "forecast_s": round(time.perf_counter() - adapted, 3)}


def main() -> None:
    """Measure, write the records, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image, or digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation"), help="folder of records and summary")
    parser.add_argument("--heads", type=Path, default=Path("runs/adaptation-heads"), help="folder of finished heads")
    parser.add_argument("--quick", action="store_true", help="one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    frozen = args.data != "digits"
    backbone = BackboneConfig(args.backbone, weights=args.weights) if frozen else BackboneConfig()
    data = load(args.data, image_size=backbone.image_size)
    setup = ExperimentConfig(data, backbone, frozen, Validation(), choose_training("frozen" if frozen else "digits"))
    heads = Heads(setup, stored_features(setup, "none", make_fabric("cpu", "32")), args.heads)
    results, expected, logits = [], [], defaultdict(list)
    for seed in range(1 if args.quick else args.seeds):
        for new in data.domain_names:
            began = time.perf_counter()
            found, said, own = measure(heads, new, seed)
            results, expected = results + found, expected + said
            for name, each in own.items():
                logits[name, new].append(each)
            print(f"seed {seed}, {new}: {time.perf_counter() - began:.0f} s", flush=True)
    summary = {
        "benchmark": "adaptation",
        "data": Path(data.name).name,
        "backbone": backbone.name,
        "weights": backbone.weights_key,
        "seeds": 1 if args.quick else args.seeds,
        "rows": (rows := table(results, data.domain_names)),
        "auto": judge_auto(results, rows),
        "curves": curves(results),
        "forecasts": judge_forecasts(expected),
        "seconds": seconds(heads),
    }
    if summary["seeds"] > 1:
        summary["forecasts"]["all"]["errors"]["seed_agreement"] = agreement(heads, logits)
    write_jsonl(args.out / "cases.jsonl", [*results, *expected])
    write_json(args.out / "summary.json", summary | provenance())
    for row, of in summary["rows"].items():
        cells = " ".join(f"{100 * value:6.1f}" for value in of["domains"].values())
        gains = f"{100 * of['gain']:+5.1f}, worst domain {100 * of['worst_domain_gain']:+5.1f}"
        print(f"{row:34} {cells}  {100 * of['average']:6.1f} {gains}")
    for row, of in summary["curves"].items():
        print(f"{row:34} " + " ".join(f"{images}: {100 * value:.1f}" for images, value in of.items()))
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
