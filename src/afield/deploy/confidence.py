"""The confidence of a model: its temperature, and its accuracy by confidence on images that it did not train on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from afield.comparison.analysis import joined, read_predictions
from afield.data import ImageSet
from afield.errors import InputError
from afield.evaluation.confidence import Scored, fit_temperature, threshold_for
from afield.evaluation.metrics import Floats, Labels
from afield.records import read_records
from afield.runs.execute import DONE
from afield.runs.run import Run
from afield.training import checkpoint

CONFIDENCE = "confidence.safetensors"

Logits = Mapping[str, tuple[Floats, Labels]]
"""Logits ``[N, K]`` and labels ``[N]`` of sets of images, by the name of the set."""


@dataclass(frozen=True)
class Confidence:
    """The temperature of a model, and measured predictions.

    Attributes:
        temperature: divisor of the logits before the softmax.
        parts: predictions of images that the predicting model was not trained on, by domain, or ``validation``.
        unseen: whether the parts are domains that were left out of training. Otherwise the parts are validation images
            of the training domains, on which models are usually more often right than in a new place.
    """

    temperature: float = 1.0
    parts: Mapping[str, Scored] = field(default_factory=dict)
    unseen: bool = False

    @classmethod
    def measure(cls, logits: Logits, *, unseen: bool) -> Confidence:
        """Fit the temperature to images that were not trained on, and score their predictions."""
        temperature = fit_temperature([*logits.values()])
        return cls(temperature, {name: Scored.of(*part, temperature) for name, part in logits.items()}, unseen)

    def threshold(self, target_accuracy: float) -> float | None:
        """The smallest probability at which the accuracy is at least `target_accuracy` on each part.

        It is above 1 if there is none, so that a person looks at each image. None without any parts.
        """
        if not self.parts:
            return None
        return min(threshold_for(target_accuracy, [*self.parts.values()]), math.nextafter(1, 2))

    @property
    def origin(self) -> str:
        """The images of the measurements, as text; empty without any."""
        if not self.parts:
            return ""
        return "domains left out of training" if self.unseen else "validation images of the training domains"

    def describe(self, threshold: float) -> str:
        """The fraction of the measured images with at least this probability, and their accuracy; can be empty."""
        told = []
        for name, part in self.parts.items():
            coverage, accuracy = part.accepted(threshold)
            right = "" if accuracy is None else f", {100 * accuracy:.1f} % of them right"
            told.append(f"{name} {100 * coverage:.0f} %{right}")
        return f"{'; '.join(told)} (measured on {self.origin})" if told else ""

    def save(self, folder: Path) -> None:
        """Write the measurements to a model folder."""
        tensors = {}
        for name, part in self.parts.items():
            tensors[f"confidence/{name}"] = torch.from_numpy(np.asarray(part.confidence, dtype=np.float32))
            tensors[f"right/{name}"] = torch.from_numpy(part.right)
        state = {"temperature": self.temperature, "unseen": self.unseen, "parts": [*self.parts]}
        checkpoint.save(folder / CONFIDENCE, tensors, state)

    @classmethod
    def load(cls, folder: Path) -> Confidence:
        """Read the measurements of a model folder. Without them, the temperature is 1."""
        if not (folder / CONFIDENCE).exists():
            return cls()
        tensors, state = checkpoint.load(folder / CONFIDENCE)
        parts = {
            name: Scored(tensors[f"confidence/{name}"].numpy(), tensors[f"right/{name}"].numpy())
            for name in state["parts"]
        }
        return cls(state["temperature"], parts, state["unseen"])


def left_out(data: ImageSet, runs: Sequence[Run], folder: Callable[[Run], Path]) -> dict[str, tuple[Floats, Labels]]:
    """The logits and labels of domains that finished runs were trained without, by domain.

    Args:
        data: data set of the runs.
        runs: finished runs. The last held-out part of each run counts; several runs without a domain are joined.
        folder: maps a run to its folder.
    """
    found = read_predictions(runs, folder, "train_validation")
    return joined(data, [(part, prediction) for run, part, prediction in found if part == run.held_out[-1]])


def compared(run: Run, comparison: Path) -> dict[str, tuple[Floats, Labels]]:
    """The logits and labels of left-out domains in a comparison that contains the recipe of a run.

    Raises:
        InputError: if the folder contains no finished run of the same recipe with the same settings.
    """

    def folder(run: Run) -> Path:
        return comparison / "runs" / run.hash

    seeds, data = sorted({record.seed for record in read_records(comparison)}), run.setup.data
    held_out = data.domain_names if data.has_domains else ()
    runs = [replace(run, held_out=(domain,), seed=seed) for seed in seeds for domain in held_out]
    if not (done := [each for each in runs if (folder(each) / DONE).exists()]):
        raise InputError(f"{comparison} has no finished run of recipe {run.recipe.name!r} with these data and settings")
    return left_out(data, done, folder)
