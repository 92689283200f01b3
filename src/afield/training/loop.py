"""The training loop: epochs of steps, evaluation after each, a checkpoint now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.errors import InputError
from afield.evaluation import accuracy, mean_average_precision
from afield.evaluation.metrics import loss as mean_loss
from afield.records import seed_for
from afield.training.prepare import prepared
from afield.training.progress import Progress, restore, save
from afield.training.rowwise import RowwiseSGD
from afield.training.settings import Training
from afield.training.source import Source, floats

CHECKPOINT_SECONDS = 20.0


class DivergedError(InputError):
    """The loss is no longer a finite number. The last good checkpoint stays where it is."""


@dataclass(frozen=True)
class Parts:
    """What to train on, what to watch, and what is never selected on."""

    train: Source
    val: Source
    tests: Mapping[str, Source]

    @property
    def watched(self) -> dict[str, Source]:
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
    classifier: Classifier,
    parts: Parts,
    training: Training,
    augmentation: Augmentation,
    *,
    seed: int,
    label: str,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> Progress:
    """Train, resuming from `checkpoint_file` where there is one.

    Every random choice comes from generators named by `seed` and the epoch, and the generators of dropout and
    augmentation, as they were at this step, are in the checkpoint: a run that was interrupted anywhere ends, on a
    CPU, bit for bit as one that was not. Batches are made in the background.

    Args:
        classifier: built, with its weights; trained in place.
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
    """
    classifier.to(memory_format=torch.channels_last)
    _check_processes(classifier, fabric)
    optimizer, generator = _optimizer(classifier, training), torch.Generator()
    progress, rng = Progress(), dict[str, Tensor]()
    if checkpoint_file.exists():
        progress, rng = restore(checkpoint_file, classifier, optimizer)
    model, stepper = fabric.setup(classifier, optimizer)
    batch = min(training.batch_size, len(parts.train))
    steps_per_epoch = len(parts.train) // batch
    steps = training.epochs * steps_per_epoch
    saved = time.monotonic()
    while progress.epoch < training.epochs:
        began, seen = time.monotonic(), 0
        order = parts.train.order(batch, np.random.default_rng(seed_for("order", seed, progress.epoch)))
        generator.manual_seed(seed_for("augment", seed, progress.epoch))
        torch.manual_seed(seed_for("dropout", seed, progress.epoch, fabric.global_rank))
        if rng:
            generator.set_state(rng.pop("augment"))
            torch.set_rng_state(rng.pop("torch"))
        loss_sum = torch.tensor(progress.loss_sum, dtype=torch.float64, device=fabric.device)
        model.train()
        rest = order[: steps_per_epoch * batch].reshape(steps_per_epoch, batch)[progress.position :]
        batches = prepared(
            parts.train,
            list(rest[:, fabric.global_rank :: fabric.world_size]),
            augmentation,
            generator,
            num_classes=classifier.num_classes,
            fabric=fabric,
        )
        with closing(batches):
            for ready in batches:
                step = progress.epoch * steps_per_epoch + progress.position
                for group in optimizer.param_groups:
                    group["lr"] = training.learning_rate_at(step, steps)
                loss = model(ready.inputs, ready.targets)
                fabric.backward(loss)
                stepper.step()
                stepper.zero_grad()
                loss_sum += loss.detach()
                progress.position += 1
                seen += batch
                if time.monotonic() - saved > CHECKPOINT_SECONDS and progress.position < steps_per_epoch:
                    progress.loss_sum = _finite(loss_sum, label, progress, checkpoint_file)
                    if fabric.is_global_zero:
                        save(checkpoint_file, progress, classifier, optimizer, ready.drawn)
                    saved = time.monotonic()
        train_loss = _finite(loss_sum, label, progress, checkpoint_file) / steps_per_epoch
        trained = time.monotonic()
        progress.logits = {
            name: predict(classifier, source, batch_size=source.evaluation_batch(batch), fabric=fabric)
            for name, source in parts.watched.items()
        }
        _finite(sum(logits.sum() for logits in progress.logits.values()), label, progress, checkpoint_file)
        _evaluate(classifier, parts, progress, train_loss)
        progress.epoch, progress.position, progress.loss_sum = progress.epoch + 1, 0, 0.0
        now = time.monotonic()
        on_epoch(
            EpochReport(
                label=label,
                epoch=progress.epoch,
                epochs=training.epochs,
                train_loss=train_loss,
                validation_accuracy=progress.epochs[-1]["validation"]["accuracy"],
                images_per_second=seen / max(trained - began, 1e-9),
                seconds_left=(now - began) * (training.epochs - progress.epoch),
            )
        )
        if now - saved > CHECKPOINT_SECONDS or progress.epoch == training.epochs:
            if fabric.is_global_zero:
                save(checkpoint_file, progress, classifier, optimizer, generator.get_state())
            saved = time.monotonic()
    return progress


def predict(classifier: Classifier, source: Source, *, batch_size: int, fabric: Fabric) -> Tensor:
    """Logits ``[N, K]`` of a source's examples in order: float32, on the CPU, without dropout or augmentation."""
    classifier.eval()
    found = torch.empty(len(source), classifier.num_classes)
    with torch.inference_mode(), fabric.autocast():
        positions = np.array_split(np.arange(len(source)), max(1, math.ceil(len(source) / batch_size)))
        for rows, (inputs, _) in zip(positions, source.batches(positions), strict=True):
            found[rows] = classifier.logits(floats(fabric.to_device(inputs))).float().cpu()
    return found


def _evaluate(classifier: Classifier, parts: Parts, progress: Progress, train_loss: float) -> None:
    """Add the epoch's figures, and keep the state if validation is the best yet."""
    arrays = {name: tensor.numpy() for name, tensor in progress.logits.items()}
    labels = {name: source.labels[source.indices] for name, source in parts.watched.items()}
    progress.epochs.append(
        {
            "train_loss": train_loss,
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


def _check_processes(classifier: Classifier, fabric: Fabric) -> None:
    """Refuse a head whose parameters data-parallel training would mix up."""
    for module in classifier.modules():
        if fabric.world_size > 1 and not getattr(module, "data_parallel", True):
            raise InputError(f"{type(module).__name__} does not train data-parallel: --devices must be 1")


def _optimizer(classifier: Classifier, training: Training) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    if training.optimizer == "adamw":
        if any(getattr(module, "sparse_gradients", False) for module in classifier.modules()):
            raise InputError("--optimizer adamw does not take the sparse gradients of a sampled head; sgd does")
        return torch.optim.AdamW(
            parameters, training.learning_rate, betas=(training.momentum, 0.999), weight_decay=training.weight_decay
        )
    return RowwiseSGD(
        parameters, training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
    )


def _finite(loss_sum: Tensor | int, label: str, progress: Progress, checkpoint_file: Path) -> float:
    """The loss so far as a number; NaN or infinity raises `DivergedError`."""
    value = float(loss_sum)
    if not math.isfinite(value):
        kept = f"the last good checkpoint is {checkpoint_file}" if checkpoint_file.exists() else "no checkpoint yet"
        raise DivergedError(
            f"the loss of {label} became {value} in epoch {progress.epoch + 1}; "
            f"a lower --learning-rate often helps ({kept})"
        )
    return value
