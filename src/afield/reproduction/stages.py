"""Stages one to three of paper B: a classifier, augmentors learned against it, and each arm's fine-tuning of it.

Stage one is shared: for each seed one classifier, trained without augmentation. Every arm fine-tunes a copy of it for
the same number of epochs, with its own augmentation; learned ones are learned before that against the copy (stage
two). Accuracy is of the last epoch.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.algorithms import ERM
from afield.augment import (
    AffineAugmentor,
    AffineBounds,
    Augmentation,
    AugmentorConfig,
    RandomAffine,
    build_chain,
    compose,
    identity_distance,
)
from afield.augment.learned import AffineSettings, learn_affine
from afield.classifier import Classifier, LogitsOnly
from afield.data import make_fold
from afield.evaluation import accuracy
from afield.recipes import Recipe
from afield.records import HeldError, exclusive, read_json, seed_for, write_json
from afield.reproduction.tasks import Desk
from afield.runs.build import build_classifier
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.training import Splits, Subset, TrainConfig, fit, predict

BASELINE, DEFAULT, EVERY_IMAGE = "none", "default", "default, on every image"
MATCHED, MATCHED_EVERY = "random affine, matched", "random affine, matched, on every image"
EVERY = AugmentorConfig(probability=1.0)
"""Every image is transformed, not half of them."""
FREE = dataclasses.replace(EVERY, form="free", draw="point")
"""The paper's: six free numbers, one transformation an image."""
PAPER = AffineSettings(augmentor=FREE, sign="printed", discriminator="saturating", recognized=None, refresh=False)
CORRECTED = dataclasses.replace(PAPER, sign="corrected")
BOUNDED = dataclasses.replace(CORRECTED, augmentor=dataclasses.replace(EVERY, draw="point"), discriminator="none")
SPREAD = dataclasses.replace(BOUNDED, augmentor=EVERY)
FROZEN = AffineSettings(augmentor=EVERY, refresh=False)

LEARNED: dict[str, AffineSettings] = {
    "printed sign + D": PAPER,
    "corrected sign + D": CORRECTED,
    "corrected, non-saturating D": dataclasses.replace(CORRECTED, discriminator="non_saturating"),
    "bounded, no D": BOUNDED,
    "bounded, noise input": dataclasses.replace(BOUNDED, augmentor=dataclasses.replace(EVERY, draw="noise")),
    "distribution": SPREAD,
    "distribution, target entropy": dataclasses.replace(SPREAD, target_entropy=0.6),
    "distribution, fixed teacher weight": dataclasses.replace(SPREAD, recognized=0.9, recognition_weight=1.0),
    "distribution, adaptive teacher": FROZEN,
    "every image, no spread reward": AffineSettings(augmentor=EVERY, spread_weight=0.0),
    "every image, more entropy": AffineSettings(augmentor=EVERY, entropy_weight=5.0, spread_weight=0.02),
    "every image, recognized 0.8": AffineSettings(augmentor=EVERY, recognized=0.8),
    EVERY_IMAGE: AffineSettings(augmentor=EVERY),
    DEFAULT: AffineSettings(),
}
"""The paper's way, then one remedy after another."""


@dataclass(frozen=True)
class Stages:
    """All that the arms share.

    Attributes:
        setup: data, backbone, and the training of stage one.
        second_epochs: of stage two.
        tuning: the training of stage three.
        work: the folder of checkpoints, augmentors and records.
        learned: settings of the arms that learn an augmentor.
        measured: parts of the images on which augmentors are measured beside those that they learn on.
    """

    setup: ExperimentConfig
    second_epochs: int
    tuning: TrainConfig
    work: Path
    learned: Mapping[str, AffineSettings] = dataclasses.field(default_factory=lambda: LEARNED)
    measured: tuple[str, ...] = ("validation",)

    def parts(self, seed: int) -> tuple[Splits, Subset]:
        """Training and validation images, and the test images, which nothing is selected on."""
        data = self.setup.data
        fold = make_fold(data, ("test",), self.setup.validation, seed)
        source = {"train": fold.train, "val": fold.val, "test": fold.tests["test"]}
        train, val, test = (Subset(data.images, data.labels, source[name]) for name in source)
        return Splits(train, val, {}), test

    def train(
        self, classifier: Classifier, training: TrainConfig, augmentation: Augmentation, seed: int, to: Path, desk: Desk
    ) -> float:
        """Train a classifier in place, resumably; the validation accuracy of the last epoch."""
        parts = self.parts(seed)[0]
        progress = fit(
            ERM(classifier, parts.train.domain_sizes),
            parts,
            training,
            augmentation,
            seed=seed,
            label=to.stem,
            checkpoint_file=to,
            fabric=desk.fabric(training.precision),
            on_epoch=desk.callback.epoch,
        )
        return float(progress.epochs[-1].validation["accuracy"])

    def first(self, seed: int, desk: Desk) -> Classifier:
        """Stage one's classifier, trained once a seed.

        Raises:
            HeldError: another process is training it.
        """
        classifier = build_classifier(self.setup, Recipe("erm"), seed)
        to = self.work / f"first-{seed}.safetensors"
        with exclusive(self.work / f"first-{seed}"):
            self.train(classifier, self.setup.training, build_chain("none"), seed, to, desk)
        return classifier

    def run(self, arm: str, seed: int, desk: Desk) -> dict[str, Any]:
        """The record of one arm.

        Raises:
            HeldError: what it needs is being made by another process.
        """
        file = self.work / "arms" / f"{seed}-{arm.replace(' ', '_')}.json"
        if file.exists():
            return read_json(file)
        classifier, (parts, test) = self.first(seed, desk), self.parts(seed)
        augmentation, learned = self.augmentation(arm, seed, classifier, parts, test, desk)
        began, checkpoint = time.process_time(), file.with_suffix(".safetensors")
        tuned = copy.deepcopy(classifier)
        validation = self.train(tuned, self.tuning, augmentation, seed_for("tuning", seed), checkpoint, desk)
        seconds = time.process_time() - began
        logits = predict(tuned, test, batch_size=500, fabric=desk.fabric(self.tuning.precision)).numpy()
        record = {
            "arm": arm,
            "seed": seed,
            "accuracy": accuracy(logits, test.labels[test.indices]),
            "validation_accuracy": validation,
            "tuning_cpu_s": round(seconds, 1),
            **learned,
            "images": {"train": len(parts.train), "validation": len(parts.val), "test": len(test)},
            **provenance(),
        }
        write_json(file, record)
        checkpoint.unlink()
        return record

    def augmentor_file(self, arm: str, seed: int) -> Path:
        """Where an arm's learned augmentor is kept."""
        return self.work / "augmentors" / f"{seed}-{arm.replace(' ', '_')}.safetensors"

    def augmentation(
        self, arm: str, seed: int, classifier: Classifier, parts: Splits, test: Subset, desk: Desk
    ) -> tuple[Augmentation, dict[str, Any]]:
        """An arm's augmentation, learned if it is a learned one, and what the record says of that."""
        if arm in self.learned:
            settings = dataclasses.replace(self.learned[arm], epochs=self.second_epochs)
            file = self.augmentor_file(arm, seed)
            began = time.process_time()
            watched = {"validation": parts.val, "test": test}
            learned = learn_affine(
                LogitsOnly(classifier),
                parts.train,
                {name: watched[name] for name in self.measured},
                settings,
                seed=seed,
                checkpoint_file=file.with_suffix(".checkpoint"),
                fabric=desk.fabric(self.tuning.precision),
                on_epoch=desk.callback.learning,
            )
            learned.augmentor.write(file)
            return learned.augmentor, {
                "settings": dataclasses.asdict(settings),
                "search_cpu_s": round(time.process_time() - began, 1),
                "measures": learned.epochs[-1]["validation"],
                "epochs": learned.epochs,
                "collapses": learned.collapses,
            }
        if arm in (MATCHED, MATCHED_EVERY):
            if not self.augmentor_file(DEFAULT, seed).exists():
                raise HeldError(f"{arm} is matched to {DEFAULT}, which is not learned yet")
            default = AffineAugmentor.read(self.augmentor_file(DEFAULT, seed))
            affine, distance = matched(default, parts.val)
            share = EVERY.probability if arm == MATCHED_EVERY else default.config.probability
            affine = dataclasses.replace(affine, probability=share)
            return affine, {"settings": dataclasses.asdict(affine), "measures": {"distance": distance}}
        return build_chain(arm), {}


def matched(augmentor: AffineAugmentor, source: Subset) -> tuple[RandomAffine, float]:
    """A random affine within the augmentor's bounds times a factor, of the same mean distance from the identity."""
    generator = torch.Generator().manual_seed(seed_for("matched"))
    images, _ = source.take(np.arange(min(len(source), 600)))
    wanted = float(identity_distance(augmentor.sample(images, generator).theta).mean())
    limits = augmentor.config.bounds.limits()
    drawn = 2 * torch.rand(4000, 6, generator=generator) - 1
    low, high = 0.0, 2.0
    for _ in range(40):
        factor = (low + high) / 2
        below = float(identity_distance(compose(drawn * limits * factor)).mean()) < wanted
        low, high = (factor, high) if below else (low, factor)
    turn, scale, _, shear, shift, _ = (limits * low).tolist()
    bounds = AffineBounds(math.degrees(turn), math.exp(scale), shear, shift / 2)
    return RandomAffine(bounds, padding=augmentor.config.padding), wanted
