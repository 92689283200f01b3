"""The training loop: epochs of steps, evaluation after each, a checkpoint now and then."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from afield.algorithms import Algorithm, Batch, Terms, total
from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.errors import InputError
from afield.evaluation import accuracy, mean_average_precision
from afield.evaluation.metrics import loss as mean_loss
from afield.records import seed_for
from afield.settings import TrainConfig
from afield.training.batches import in_order, labeled, share
from afield.training.optimizer import build_optimizer
from afield.training.prepare import prepared
from afield.training.sampling import balanced, shuffled
from afield.training.state import TrainState, restore, save
from afield.training.subset import Subset, floats

CHECKPOINT_SECONDS = 20.0


class DivergedError(InputError):
    """The loss is no longer a finite number. The last good checkpoint stays where it is."""


@dataclass(frozen=True)
class Splits:
    """What to train on, what to callback, and what is never selected on."""

    train: Subset
    val: Subset
    tests: Mapping[str, Subset]

    @property
    def watched(self) -> dict[str, Subset]:
        """The parts that are evaluated after each epoch; validation by the name ``validation``."""
        return {"validation": self.val, **{f"test/{name}": source for name, source in self.tests.items()}}


@dataclass(frozen=True)
class EpochReport:
    """What a progress display shows after an epoch."""

    label: str
    epoch: int
    epochs: int
    train_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds_left: float


def fit(
    algorithm: Algorithm,
    parts: Splits,
    training: TrainConfig,
    augmentation: Augmentation,
    *,
    seed: int,
    label: str,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> TrainState:
    """Train, resuming from `checkpoint_file` where there is one.

    Every random choice comes from generators named by `seed` and the epoch, and the generators of dropout, algorithm
    and augmentation, as they were at this step, are in the checkpoint: a run that was interrupted anywhere ends, on a
    CPU, bit for bit as one that was not. Batches are made in the background. Of several processes each makes the
    whole batch and learns from its share, so that their number changes no draw but that of dropout.

    Args:
        algorithm: around a classifier with its weights; both are trained in place.
        parts: the images.
        training: settings.
        augmentation: applied to training batches of images.
        seed: names the generators.
        label: names the run in messages.
        checkpoint_file: written every `CHECKPOINT_SECONDS`; the caller removes it.
        fabric: device, precision and processes.
        on_epoch: called after each epoch.

    Raises:
        DivergedError: the loss is not finite.
        InputError: balanced batches that are smaller than the number of domains.
    """
    algorithm.to(memory_format=torch.channels_last)
    optimizer, generator = build_optimizer(algorithm, training), torch.Generator()
    progress, rng = TrainState(), dict[str, Tensor]()
    if checkpoint_file.exists():
        progress, rng = restore(checkpoint_file, algorithm, optimizer)
    model, stepper = fabric.setup(algorithm, optimizer)
    num_classes = algorithm.classifier.num_classes
    batch = min(training.batch_size, len(parts.train))
    steps_per_epoch = len(parts.train) // batch
    steps = training.epochs * steps_per_epoch
    balance = (algorithm.sampling if training.sampling == "auto" else training.sampling) == "balanced"
    draw = balanced if balance else shuffled
    saved = time.monotonic()

    def validate() -> float:
        size = parts.val.evaluation_batch(batch)
        logits = predict(algorithm.classifier, parts.val, batch_size=size, fabric=fabric)
        model.train()
        return mean_loss(logits.numpy(), parts.val.labels[parts.val.indices])

    while progress.epoch < training.epochs:
        began, seen = time.monotonic(), 0
        positions = draw(parts.train, batch, np.random.default_rng(seed_for("order", seed, progress.epoch)))
        _check_shares(algorithm, len(positions[0]), training.accumulate, fabric)
        generator.manual_seed(seed_for("augment", seed, progress.epoch))
        torch.manual_seed(seed_for("dropout", seed, progress.epoch, fabric.global_rank))
        if rng:
            generator.set_state(rng.pop("augment"))
            torch.set_rng_state(rng.pop("torch"))
        sums = {name: _double(value, fabric) for name, value in progress.sums.items()}
        if not progress.position:
            done, size = progress.epoch / training.epochs, parts.train.evaluation_batch(batch)
            algorithm.start_epoch(functools.partial(in_order, parts.train, size, done, fabric))
        model.train()
        rest = positions[progress.position :]
        batches = prepared(
            parts.train,
            rest,
            augmentation,
            generator,
            num_classes=num_classes,
            fabric=fabric,
            epoch=progress.epoch,
            seed=seed,
        )
        with closing(batches):
            for places, ready in zip(rest, batches, strict=True):
                step = progress.epoch * steps_per_epoch + progress.position
                examples = labeled(ready.inputs, ready.targets, parts.train, places, step / steps, fabric)
                for group in optimizer.param_groups:
                    group["lr"] = group["rate"] * training.learning_rate_at(step, steps)
                terms = _update(algorithm, model, examples, training.accumulate, fabric)
                stepper.step()
                stepper.zero_grad()
                for name, term in terms.items():
                    sums[name] = sums[name] + term if name in sums else _double(0.0, fabric) + term
                algorithm.end_step(step + 1, steps, validate)
                progress.position += 1
                seen += len(places)
                if time.monotonic() - saved > CHECKPOINT_SECONDS and progress.position < steps_per_epoch:
                    progress.sums = _finite(sums, label, progress, checkpoint_file)
                    if fabric.is_global_zero:
                        save(checkpoint_file, progress, algorithm, optimizer, ready.drawn)
                    saved = time.monotonic()
        means = {name: _mean(value / steps_per_epoch, fabric) for name, value in sums.items()}
        train_terms = _finite(means, label, progress, checkpoint_file)
        trained, predictor = time.monotonic(), algorithm.predictor()
        progress.logits = {
            name: predict(predictor, source, batch_size=source.evaluation_batch(batch), fabric=fabric)
            for name, source in parts.watched.items()
        }
        _finite({name: logits.sum() for name, logits in progress.logits.items()}, label, progress, checkpoint_file)
        _evaluate(predictor, parts, progress, train_terms)
        progress.epoch, progress.position, progress.sums = progress.epoch + 1, 0, {}
        now = time.monotonic()
        on_epoch(
            EpochReport(
                label=label,
                epoch=progress.epoch,
                epochs=training.epochs,
                train_loss=total(train_terms),
                validation_accuracy=progress.epochs[-1]["validation"]["accuracy"],
                images_per_second=seen / max(trained - began, 1e-9),
                seconds_left=(now - began) * (training.epochs - progress.epoch),
            )
        )
        if now - saved > CHECKPOINT_SECONDS or progress.epoch == training.epochs:
            if fabric.is_global_zero:
                save(checkpoint_file, progress, algorithm, optimizer, generator.get_state())
            saved = time.monotonic()
    return progress


def _update(algorithm: Algorithm, model: Any, batch: Batch, pieces: int, fabric: Fabric) -> Terms:
    """Leave the gradients of a step in the parameters, from this process's share in so many pieces; mean terms."""
    means: Terms = {}
    for piece in range(pieces):
        own = share(batch, fabric.global_rank * pieces + piece, fabric.world_size * pieces)
        with fabric.no_backward_sync(model, enabled=fabric.world_size > 1 and piece < pieces - 1):
            terms = algorithm.update(model, own, lambda loss: fabric.backward(loss / pieces))
        means = {name: means.get(name, 0.0) + term / pieces for name, term in terms.items()}
    return means


def predict(classifier: Classifier, source: Subset, *, batch_size: int, fabric: Fabric) -> Tensor:
    """Logits ``[N, K]`` of a source's examples in order: float32, on the CPU, without dropout or augmentation."""
    classifier.eval()
    found = torch.empty(len(source), classifier.num_classes)
    with torch.inference_mode(), fabric.autocast():
        for rows, inputs, _ in source.in_order(batch_size):
            found[rows] = classifier.logits(floats(fabric.to_device(inputs))).float().cpu()
    return found


def _evaluate(classifier: Classifier, parts: Splits, progress: TrainState, train_terms: Mapping[str, float]) -> None:
    """Add the epoch's figures, and keep the state if validation is the best yet."""
    arrays = {name: tensor.numpy() for name, tensor in progress.logits.items()}
    labels = {name: source.labels[source.indices] for name, source in parts.watched.items()}
    progress.epochs.append(
        {
            "train_loss": total(train_terms),
            **({"train_terms": dict(train_terms)} if len(train_terms) > 1 else {}),
            "validation": {
                "accuracy": accuracy(arrays["validation"], labels["validation"]),
                "loss": mean_loss(arrays["validation"], labels["validation"]),
            },
            "test": {
                name: {
                    "accuracy": accuracy(arrays[f"test/{name}"], labels[f"test/{name}"]),
                    "map": mean_average_precision(arrays[f"test/{name}"], labels[f"test/{name}"]),
                }
                for name in parts.tests
            },
        }
    )
    if progress.best_epoch == len(progress.epochs) - 1:
        progress.best = {name: tensor.detach().cpu().clone() for name, tensor in classifier.state_dict().items()}
        progress.best_logits = progress.logits


def _check_shares(algorithm: Algorithm, batch: int, pieces: int, fabric: Fabric) -> None:
    """Refuse shares of a batch that are not equal, and what data-parallel training would mix up."""
    if batch % (fabric.world_size * pieces):
        shares = f"{fabric.world_size} devices, --accumulate {pieces}"
        raise InputError(f"a batch of {batch} cannot be divided equally: {shares}")
    for module in algorithm.modules():
        if fabric.world_size > 1 and not getattr(module, "data_parallel", True):
            raise InputError(f"{type(module).__name__} does not train data-parallel: --devices must be 1")


def _mean(value: Tensor, fabric: Fabric) -> Tensor:
    return cast(Tensor, fabric.all_reduce(value))


def _double(value: float, fabric: Fabric) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=fabric.device)


def _finite(sums: Mapping[str, Tensor], label: str, progress: TrainState, checkpoint_file: Path) -> dict[str, float]:
    """Sums as numbers; NaN or infinity raises `DivergedError`."""
    values = {name: float(value) for name, value in sums.items()}
    for value in values.values():
        if not math.isfinite(value):
            kept = f"the last good checkpoint is {checkpoint_file}" if checkpoint_file.exists() else "no checkpoint yet"
            raise DivergedError(
                f"the loss of {label} became {value} in epoch {progress.epoch + 1}; "
                f"a lower --learning-rate often helps ({kept})"
            )
    return values
