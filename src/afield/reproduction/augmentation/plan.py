"""What is run of paper B: learned augmentation."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from afield.augment import AffineAugmentor
from afield.augment.learned import AffineSettings
from afield.data import Validation
from afield.launch.local import cpu_threads
from afield.models import BackboneConfig
from afield.pixels import to_array
from afield.recipes import Recipe
from afield.records import Epoch, Learned, Record, canonical_json, run_hash, seed_for
from afield.reproduction.paper import Place
from afield.reproduction.pictures import cifar, digits
from afield.reproduction.stages import BASELINE, DEFAULT, LEARNED, PAPER, Stages
from afield.reproduction.tasks import Desk, Task, Workload, on_purpose
from afield.runs.config import ExperimentConfig, choose_training
from afield.training import Subset, TrainConfig

STUDY = "CIFAR-10"
METHOD, METHOD_ALONE = "printed sign + D", "printed sign, no D"


ARMS = (
    BASELINE,
    METHOD,
    METHOD_ALONE,
    "corrected sign + D",
    "corrected, non-saturating D",
    "bounded, no D",
    DEFAULT,
    "random_affine",
)
PICTURED = (METHOD, "corrected sign + D", DEFAULT)
"""Arms of figure 3, at the first seed."""
PAIRS = 8
STAGE_TWO_COST = 2.0
"""Of an image, in units of a training image, about."""


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        images: for training and for testing.
        epochs: of the three stages.
        seeds: how many.
        backbone: of the classifier.
        faithful: whether the paper's optimizers and rates are used; SGD and one-cycle rates train faster.
        arms: what is compared.
        stand_in: whether the digits take the place of CIFAR-10.
    """

    images: tuple[int, int]
    epochs: tuple[int, int, int]
    seeds: int
    backbone: BackboneConfig
    faithful: bool = False
    arms: tuple[str, ...] = ARMS
    stand_in: bool = False


SIZES = {
    "smoke": Scale((120, 60), (1, 1, 1), 2, BackboneConfig("resnet8"), arms=(BASELINE, METHOD, DEFAULT), stand_in=True),
    "small": Scale((3000, 2000), (10, 8, 12), 3, BackboneConfig("resnet8")),
    "full": Scale((50_000, 10_000), (100, 50, 100), 3, BackboneConfig("resnet18", "small"), faithful=True),
}


def tasks(place: Place) -> Sequence[Task]:
    """Every arm, seed by seed."""
    scale = SIZES[place.size]
    stages = _stages(place, scale)
    return [ArmTask(stages, arm, seed) for seed in range(scale.seeds) for arm in scale.arms]


def _stages(place: Place, scale: Scale) -> Stages:
    pictures = digits() if scale.stand_in else cifar(place.data, "cifar10")
    data = pictures.subset(*scale.images).image_set()
    first, second, third = scale.epochs
    if scale.faithful:
        training = TrainConfig(
            epochs=first,
            batch_size=128,
            optimizer="adamw",
            learning_rate=0.1,
            weight_decay=0.0,
            schedule="constant",
            precision="bf16",
        )
        tuning = dataclasses.replace(training, epochs=third, learning_rate=0.01)
        learned = {name: dataclasses.replace(each, learning_rate=1e-4) for name, each in _learned().items()}
        learned[DEFAULT] = LEARNED[DEFAULT]
    else:
        training = choose_training(
            "scratch", epochs=first, batch_size=128, warmup=0.2, augment="none", precision="bf16"
        )
        tuning = dataclasses.replace(training, epochs=third, learning_rate=training.learning_rate / 2)
        learned = _learned()
    setup = ExperimentConfig(data, scale.backbone, False, Validation(), training)
    folder = place.work / "runs" / f"stages-{run_hash({**setup.config(), 'tuning': dataclasses.asdict(tuning)})}"
    return Stages(setup, second, tuning, folder, learned, ("validation", "test"))


def _learned() -> dict[str, AffineSettings]:
    """The arms of the benchmark, and the printed sign without a discriminator, which the paper blames."""
    return {**LEARNED, METHOD_ALONE: dataclasses.replace(PAPER, discriminator="none")}


@dataclass(frozen=True)
class ArmTask:
    """An arm at a seed."""

    stages: Stages
    arm: str
    seed: int

    @property
    def study_name(self) -> str:
        """The only study."""
        return STUDY

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the result."""
        stages = self.stages
        settings = dataclasses.asdict(stages.learned[self.arm]) if self.arm in stages.learned else None
        return {
            **stages.setup.config(),
            "tuning": dataclasses.asdict(stages.tuning),
            "second_epochs": stages.second_epochs,
            "arm": self.arm,
            "settings": settings,
            "seed": self.seed,
        }

    @property
    def hash(self) -> str:
        """Of the configuration."""
        return run_hash(self.config)

    @property
    def label(self) -> str:
        """Arm and seed."""
        return f"{self.arm}, seed {self.seed}"

    def work(self, folder: Path, desk: Desk) -> Record:
        """Do what is not done yet of the stages."""
        with cpu_threads(desk.threads), on_purpose():
            record = self.stages.run(self.arm, self.seed, desk)
        test, images = {"test": {"accuracy": record["accuracy"]}}, record["images"]
        learned, details = None, dict[str, Any]()
        if "epochs" in record:
            learned = Learned(
                "learned",
                record["settings"],
                self.stages.setup.training.epochs,
                tuple(record["epochs"]),
                record["collapses"],
                record["search_cpu_s"],
            )
        elif "measures" in record:
            details = {name: record[name] for name in ("settings", "measures")}
        if self.arm in PICTURED and self.seed == 0:
            details["pairs"] = self._pairs()
        return Record(
            run=self.hash,
            recipe=self.arm,
            seed=self.seed,
            held_out=("test",),
            config=self.config,
            split_hash=self._split(),
            images={**{name: images[name] for name in ("train", "validation")}, "test/test": images["test"]},
            epochs=(Epoch(None, {"accuracy": record["validation_accuracy"]}, test),),
            duration_s=record["tuning_cpu_s"] + (learned.search_s if learned else 0.0),
            versions=record["versions"],
            hardware=record["hardware"],
            commit=record["commit"],
            learned=learned,
            test=test,
            study=STUDY,
            details=details,
        )

    def workload(self) -> Workload:
        """Images of stages two and three; and of stage one, in the arm that comes first."""
        stages, images = self.stages, len(self.stages.parts(self.seed)[0].train)
        count = float(stages.tuning.epochs) + (stages.setup.training.epochs if self.arm == BASELINE else 0)
        if self.arm in stages.learned:
            count += STAGE_TWO_COST * stages.second_epochs
        return Workload(stages.setup, Recipe("erm"), count * images)

    def _split(self) -> str:
        """Of the pixels of training, validation and test images."""
        parts, test = self.stages.parts(self.seed)
        digests = self.stages.setup.data.digests
        found = [np.sort(digests[part.indices]).tolist() for part in (parts.train, parts.val, test)]
        return run_hash({"split": canonical_json(found)})

    def _pairs(self) -> str:
        """Test images above their augmented versions: one PNG as a data URL."""
        test = self.stages.parts(self.seed)[1]
        augmentor = AffineAugmentor.read(self.stages.augmentor_file(self.arm, self.seed))
        chosen = np.random.default_rng(seed_for("pairs")).permutation(len(test))[:PAIRS]
        images, _ = Subset(test.inputs, test.labels, test.indices).take(chosen)
        with torch.no_grad():
            params = augmentor.sample(images, torch.Generator().manual_seed(seed_for("pairs drawn")))
            rows = [to_array(batch) for batch in (images, augmentor.apply(images, params))]
        sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
