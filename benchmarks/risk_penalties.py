"""Why do IRM and V-REx destroy a short training at DomainBed's factors?

    python benchmarks/risk_penalties.py --out results/risk-penalties [--held-out blue green] [--seeds 2] [--quick]

Trains on the embedded colored digits with the settings of the default comparison, and changes one thing at a time: the
factor of the penalty, the division of the sum by it, the start of the full factor, and the estimate of the penalty.
Unseen domains do not choose anything. Finished runs are kept in OUT/runs.jsonl, and the same command goes on. Runs
that diverge are printed, and have no record.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms import Algorithm, Batch, Terms
from afield.algorithms.parts.risks import domain_risks
from afield.augment import AUGMENTATIONS
from afield.classifier import Classifier
from afield.data import Validation, load
from afield.evaluation import estimate
from afield.fabric import Fabric
from afield.models import BackboneConfig
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.runs.run import Run, prepare
from afield.training import PRESETS, fit
from afield.training.loop import DivergedError


@dataclass(frozen=True)
class Variant:
    """One form of a penalty.

    Attributes:
        method: "irm" or "vrex".
        factor: full factor of the penalty.
        start: fraction of the steps before the full factor; before it, the factor is at most 1.
        divide: whether the sum is divided by a factor above 1.
        corrected: whether the part of the penalty that the noise of a batch adds is subtracted.
        penalized: whether the penalty is added; if not, only the division remains.
    """

    method: str
    factor: float
    start: float = 0.1
    divide: bool = True
    corrected: bool = False
    penalized: bool = True


VARIANTS = {
    "no penalty": Variant("irm", 0.0),
    "irm 100": Variant("irm", 100.0),
    "irm 100, division only": Variant("irm", 100.0, penalized=False),
    "irm 100, no division": Variant("irm", 100.0, divide=False),
    "irm 100, noise subtracted": Variant("irm", 100.0, corrected=True),
    "irm 100, from half": Variant("irm", 100.0, start=0.5),
    "irm 10": Variant("irm", 10.0),
    "irm 1": Variant("irm", 1.0),
    "vrex 10": Variant("vrex", 10.0),
    "vrex 10, division only": Variant("vrex", 10.0, penalized=False),
    "vrex 10, no division": Variant("vrex", 10.0, divide=False),
    "vrex 10, noise subtracted": Variant("vrex", 10.0, corrected=True),
    "vrex 10, from half": Variant("vrex", 10.0, start=0.5),
    "vrex 1": Variant("vrex", 1.0),
}


class Penalized(Algorithm):
    """The mean risk and a penalty in one of its forms; keeps what it measures at each step."""

    sampling = "balanced"

    def __init__(self, classifier: Classifier, variant: Variant) -> None:
        super().__init__(classifier, ())
        self.variant, self.steps = variant, list[dict[str, float]]()

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``penalty``."""
        variant, embedded = self.variant, self.classifier.embed(batch.inputs)
        risks = domain_risks(self.classifier, batch, slopes=True, embedded=embedded)
        logits = self.classifier.objective.logits(embedded)
        noise = self.noise(logits, batch)
        if variant.method == "irm":
            penalty = risks.slopes.square().mean()
        else:
            penalty, noise = risks.values.var(correction=0), noise * (1 - 1 / len(risks.values))
        factor = variant.factor if batch.progress >= variant.start else min(variant.factor, 1.0)
        scale = max(1.0, factor) if variant.divide else 1.0
        self.steps.append(
            {
                "risk": float(risks.values.detach().mean()),
                "penalty": float(penalty.detach()),
                "noise": float(noise.detach()),
                "logits": float(logits.detach().std()),
            }
        )
        term = factor / scale * (penalty - noise if variant.corrected else penalty)
        return {"objective": risks.values.mean() / scale, "penalty": term if variant.penalized else term.detach() * 0}

    def noise(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean over domains of the squared standard error of a domain's slope (IRM) or risk (V-REx) in the batch."""
        if self.variant.method == "irm":
            errors = logits.softmax(1) - F.one_hot(batch.targets, logits.shape[1])
            each = (errors * logits).sum(dim=1)
        else:
            each = F.cross_entropy(logits, batch.targets, reduction="none")
        domains = [each[batch.domains == domain] for domain in batch.domains.unique()]
        return torch.stack([domain.var() / len(domain) for domain in domains]).mean()


def run_variant(setup: ExperimentConfig, variant: Variant, held_out: str, seed: int, fabric: Fabric) -> dict:
    """Train, and return accuracies at the epoch with the best validation accuracy, and the trace by tenths."""
    run = Run(setup, RECIPES["erm"], (held_out,), seed)
    _, parts, classifier = prepare(run, None, fabric)
    algorithm = Penalized(classifier, variant)
    augmentation = AUGMENTATIONS[run.training.augment]()
    with torch.random.fork_rng(devices=[]):
        state = fit(
            algorithm,
            parts,
            run.training,
            augmentation,
            seed=seed,
            label=run.label,
            checkpoint_file=None,
            fabric=fabric,
        )
    best = max(state.epochs, key=lambda epoch: epoch.validation["accuracy"])
    tenths = torch.tensor([list(step.values()) for step in algorithm.steps]).tensor_split(10)
    return {
        "held_out": held_out,
        "seed": seed,
        "validation": best.validation["accuracy"],
        "unseen": best.test[held_out]["accuracy"],
        "trace": {
            name: [round(float(part[:, column].mean()), 5) for part in tenths]
            for column, name in enumerate(algorithm.steps[0])
        },
    }


def main() -> None:
    """Run what is missing, write the summary, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the summary")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--held-out", nargs="+", default=["blue", "green"], help="unseen domains, each in turn")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two variants, one domain, one seed, one epoch")
    args = parser.parse_args()
    training = PRESETS["colored_digits"]
    if args.quick:
        args.variants, args.held_out, args.seeds = ["no penalty", "irm 100"], ["blue"], 1
        training = replace(training, epochs=1)
    setup = ExperimentConfig(
        data=load("colored_digits"),
        backbone=BackboneConfig("resnet8_ibn", weights="none"),
        freeze=False,
        validation=Validation(),
        training=training,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    file, fabric = args.out / "runs.jsonl", Fabric(accelerator="cpu", devices=1)
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(row["variant"], row["held_out"], row["seed"]) for row in rows}
    for seed in range(args.seeds):
        for held_out in args.held_out:
            for name in args.variants:
                if (name, held_out, seed) not in done:
                    try:
                        found = run_variant(setup, VARIANTS[name], held_out, seed, fabric)
                    except DivergedError as error:
                        print(f"{name:26} {held_out:6} {seed} {error}", flush=True)
                        continue
                    rows.append({"variant": name, **found})
                    with file.open("a") as stream:
                        stream.write(json.dumps(rows[-1]) + "\n")
                    print(f"{name:26} {held_out:6} {seed} {100 * rows[-1]['validation']:.1f}", flush=True)
    by_form = {name: [row for row in rows if row["variant"] == name] for name in VARIANTS}
    summary = {
        name: {part: asdict(estimate([row[part] for row in of])) for part in ("validation", "unseen")}
        for name, of in by_form.items()
        if of
    }
    result = {"benchmark": "risk_penalties", "epochs": training.epochs, "variants": summary, **provenance()}
    write_json(args.out / "summary.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
