"""Learning loss against random, entropy and core-set sampling on CIFAR-10, by the cycle of the learning-loss paper.

    python benchmarks/learning_loss.py --data cifar10.npz --out results/learning-loss [--seeds 5] [--full] [--quick]

A seed draws the first labeled images, the same for all strategies. In each cycle, a network is trained from scratch on
the labeled images, its accuracy on the test images is measured after the last epoch, and the strategy chooses the next
images to label among a random subset of the others. Nothing is selected on the test images. The strategy
`learning_loss` trains its network with the recipe of the same name, the other strategies with `erm`.

By default, ResNet-8 has 200 labels in the first of five cycles and 200 more in each cycle, from subsets of 2,000
images, and is trained for 25 epochs with batches of 50, in bf16. `--full` is the paper's size, for a GPU: ResNet-18
with a stem for small images, 1,000 labels and 1,000 more up to 10,000, subsets of 10,000, 200 epochs, batches of 128.
Both use the optimizer of the paper (SGD, learning rate 0.1, a tenth of it after 80 % of the steps, momentum 0.9, weight
decay 0.0005), and shift and flip the images.

The verdict is on the claim that learning loss is better than the other strategies, with all labels. Finished cycles are
kept in `--out`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from afield.algorithms.learning_loss import features_and_losses
from afield.augment import build_chain
from afield.classifier import Classifier
from afield.data import ImageSet, Validation, load
from afield.data.images import SPLITS
from afield.evaluation import Estimate, accuracy, estimate, paired_difference
from afield.labeling import Pool, select
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.pixels import as_floats
from afield.recipes import RECIPES
from afield.records import exclusive, read_json, seed_for, write_atomic, write_json, write_jsonl
from afield.reporting.plots import curves_with_intervals, standalone
from afield.reproduction.verdict import Verdict, judge_difference
from afield.runs.build import build_algorithm, build_classifier
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.training import Splits, Subset, TrainConfig, fit

OURS = "learning_loss"
STRATEGIES = ("random", "entropy", "core_set", OURS)
BATCH = 500
PAPER = TrainConfig(
    epochs=200, batch_size=128, learning_rate=0.1, schedule="step", augment="translate+alternating_flip"
)


@dataclass(frozen=True)
class Size:
    """The network, its training, and how many images are labeled.

    Attributes:
        backbone: network.
        training: training settings.
        first: number of labels in the first cycle.
        more: number of labels that each cycle adds.
        cycles: number of cycles.
        subset: number of images among which a strategy chooses.
    """

    backbone: BackboneConfig
    training: TrainConfig
    first: int
    more: int
    cycles: int
    subset: int

    def labels(self, cycle: int) -> int:
        """The number of labeled images in a cycle, counted from 0."""
        return self.first + self.more * cycle


CPU = Size(
    BackboneConfig("resnet8"),
    dataclasses.replace(PAPER, epochs=25, batch_size=50, precision="bf16"),
    *(200, 200, 5, 2_000),
)
FULL = Size(BackboneConfig("resnet18", "small"), PAPER, 1_000, 1_000, 10, 10_000)
QUICK = Size(BackboneConfig("resnet8"), dataclasses.replace(PAPER, epochs=1, batch_size=10), *(20, 10, 2, 40))


@dataclass(frozen=True, eq=False)
class Study:
    """CIFAR-10 with the size of the study.

    Attributes:
        data: training and test images.
        size: size of the study.
        fabric: device and precision.
    """

    data: ImageSet
    size: Size
    fabric: Fabric

    def rows(self, split: str) -> NDArray[np.int64]:
        """The indices of the images of a split."""
        return np.flatnonzero(self.data.given == SPLITS.index(split))

    def order(self, *names: Any) -> NDArray[np.int64]:
        """The indices of the training images in a random order that these names determine."""
        return np.random.default_rng(seed_for("learning loss", *names)).permutation(self.rows("train"))

    @functools.lru_cache(maxsize=1)  # noqa: B019 - strategies that have the same labels share the network
    def train(self, recipe: str, labels: tuple[int, ...], seed: int) -> tuple[Classifier, float]:
        """Train a network from scratch on labeled images; return that of the last epoch, and its test accuracy.

        The loop evaluates ten of the labeled images after each epoch; nothing is selected on them.
        """
        setup = ExperimentConfig(self.data, self.size.backbone, False, Validation(), self.size.training)
        classifier = build_classifier(setup, RECIPES[recipe], seed)
        part = Subset(self.data.images, self.data.labels, np.array(labels))
        algorithm = build_algorithm(RECIPES[recipe], classifier, part.domain_sizes, seed)
        with tempfile.TemporaryDirectory() as folder:
            fit(
                algorithm,
                Splits(part, dataclasses.replace(part, indices=part.indices[:10]), {}),
                self.size.training,
                build_chain(self.size.training.augment),
                seed=seed,
                label=recipe,
                checkpoint_file=Path(folder) / "checkpoint.safetensors",
                fabric=self.fabric,
            )
        test = self.rows("test")
        _, logits, _ = self.outputs(classifier.eval(), test)
        return classifier, accuracy(logits.numpy(), self.data.labels[test])

    def outputs(self, classifier: Classifier, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features ``[N, D]``, logits ``[N, K]`` and, if the network predicts them, losses ``[N]`` of images."""
        features, losses = [], []
        with torch.inference_mode(), self.fabric.autocast():
            for _, inputs, _ in Subset(self.data.images, self.data.labels, rows).in_order(BATCH):
                images = as_floats(self.fabric.to_device(inputs))
                if classifier.loss_prediction is None:
                    features.append(classifier.features(images).float())
                else:
                    found, predicted = features_and_losses(classifier, images)
                    features.append(found.float())
                    losses.append(predicted.float())
        every = torch.cat(features)
        with torch.inference_mode():
            logits = classifier.objective.logits(every)
        return every.cpu(), logits.cpu(), torch.cat(losses).cpu() if losses else None


def run_cycle(study: Study, strategy: str, seed: int, cycle: int, labeled: NDArray[np.int64]) -> dict[str, Any]:
    """Train on the labeled images, measure, and choose the images that the next cycle adds, if there is one."""
    began = time.perf_counter()
    classifier, found = study.train(OURS if strategy == OURS else "erm", tuple(labeled.tolist()), seed)
    last = cycle == study.size.cycles - 1
    return {
        "strategy": strategy,
        "seed": seed,
        "cycle": cycle,
        "labels": len(labeled),
        "accuracy": found,
        "chosen": [] if last else choose(study, strategy, seed, cycle, classifier, labeled).tolist(),
        "seconds": round(time.perf_counter() - began, 3),
        "size": dataclasses.asdict(study.size),
        **provenance(),
    }


def choose(
    study: Study, strategy: str, seed: int, cycle: int, classifier: Classifier, labeled: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The images to label next, from a subset of those without a label, in an order drawn by seed and cycle."""
    others = study.order("subset", seed, cycle)
    rows = np.concatenate([labeled, others[~np.isin(others, labeled)][: study.size.subset]])
    features, logits, losses = study.outputs(classifier, rows)
    pool = Pool(features, logits, torch.arange(len(rows)) < len(labeled), predicted_losses=losses)
    found = select(pool, study.size.more, strategy, seed=seed_for(seed, cycle) % 2**31, near_duplicates=True)
    return rows[found.numpy()]


def run_seed(study: Study, strategies: Sequence[str], seed: int, folder: Path) -> None:
    """Run all cycles of a seed that are not finished."""
    labeled = dict.fromkeys(strategies, study.order("first", seed)[: study.size.first])
    for cycle, strategy in itertools.product(range(study.size.cycles), strategies):
        file = folder / f"{strategy}-{seed}-{cycle}.json"
        if not file.exists():
            write_json(file, run_cycle(study, strategy, seed, cycle, labeled[strategy]))
        record = read_json(file)
        if record["size"] != json.loads(json.dumps(dataclasses.asdict(study.size))):
            raise SystemExit(f"{file} has another size; choose another folder")
        print(f"seed {seed} {strategy}: {record['labels']} labels, {100 * record['accuracy']:.1f} %", flush=True)
        labeled[strategy] = np.concatenate([labeled[strategy], np.array(record["chosen"], dtype=np.int64)])


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means by strategy and number of labels, paired differences to learning loss, and the verdict."""
    found = {(r["strategy"], r["labels"], r["seed"]): r["accuracy"] for r in records}
    strategies, labels, seeds = (sorted({key[i] for key in found}) for i in range(3))

    def values(strategy: str, count: int) -> list[float]:
        return [found[strategy, count, seed] for seed in seeds]

    names = [name for name in STRATEGIES if name in strategies]
    rows = {
        name: {
            str(count): {
                "accuracy": estimate(values(name, count)),
                "vs_random": paired_difference(values(name, count), values("random", count)),
            }
            for count in labels
        }
        for name in names
    }
    last = {name: paired_difference(values(OURS, labels[-1]), values(name, labels[-1])) for name in names[:-1]}
    verdicts = {name: str(verdict) for name, verdict in judge(last).items()}
    return {"seeds": len(seeds), "labels": labels, "rows": rows, "ahead_of": last, "verdicts": verdicts}


def judge(differences: Mapping[str, Estimate]) -> dict[str, Verdict]:
    """Judge the claim that learning loss is more accurate than each rival.

    It is reproduced for a rival if the 95 % interval of the paired difference over seeds lies above zero.

    Args:
        differences: accuracy of learning loss minus that of the rival with all labels, by rival.
    """
    return {name: judge_difference(1.0, difference) for name, difference in differences.items()}


def table(found: Mapping[str, Any]) -> str:
    """Mean accuracy by strategy and number of labels, in percent."""
    lines = [f"{'labels':16}" + "".join(f"{count:>9}" for count in found["labels"])]
    for name, row in found["rows"].items():
        lines.append(f"{name:16}" + "".join(f"{100 * cell['accuracy'].mean:9.1f}" for cell in row.values()))
    return "\n".join(lines)


def main() -> None:
    """Run, write records, summary and curves, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an .npz file with training and test images")
    parser.add_argument("--out", type=Path, required=True, help="folder for records, summary and curves")
    parser.add_argument("--work", type=Path, help="folder for finished cycles; by default OUT/cycles")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="auto", help="cpu or cuda")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="the size of the paper, for a GPU")
    size.add_argument("--quick", action="store_true", help="two seeds, two cycles, one epoch, as a functional check")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chosen = FULL if args.full else QUICK if args.quick else CPU
    work = args.work or args.out / "cycles"
    study = Study(load(args.data), chosen, make_fabric(args.device, chosen.training.precision))
    with exclusive(work):
        seeds = range(2 if args.quick else args.seeds)
        for seed in seeds:
            run_seed(study, STRATEGIES, seed, work)
        every = itertools.product(STRATEGIES, seeds, range(chosen.cycles))
        records = [read_json(work / f"{strategy}-{seed}-{cycle}.json") for strategy, seed, cycle in every]
    write_jsonl(args.out / "records.jsonl", records)
    found = summary(records)
    print(table(found))
    plain = json.loads(json.dumps(found, default=lambda value: value.__dict__))
    about = {"benchmark": "learning_loss", "size": dataclasses.asdict(chosen)}
    write_json(args.out / "summary.json", about | plain | provenance())
    series = {
        name: {int(count): cell["accuracy"] for count, cell in row.items()} for name, row in found["rows"].items()
    }
    figure = curves_with_intervals("learning-loss", "accuracy by labels", series, x="labels", y="accuracy, %")
    write_atomic(args.out / "curves.svg", standalone(figure))
    last = {name: row[str(found["labels"][-1])]["accuracy"].mean for name, row in found["rows"].items()}
    print(json.dumps(about | {"accuracy": last, "verdicts": found["verdicts"]}))


if __name__ == "__main__":
    main()
