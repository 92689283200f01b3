"""The training loop: epochs of steps, evaluation after each, a checkpoint now and then."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from afield.algorithms import Algorithm, total
from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.errors import InputError
from afield.evaluation import accuracy, mean_average_precision
from afield.evaluation.metrics import loss as mean_loss
from afield.records import seed_for
from afield.training.batches import augmented, in_order, take
from afield.training.progress import Progress, restore, save
from afield.training.rowwise import RowwiseSGD
from afield.training.sampling import balanced, shuffled
from afield.training.settings import Training
from afield.training.source import Source

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
    algorithm: Algorithm,
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

    Every random choice comes from generators named by `seed` and the epoch, and the generators of dropout, algorithm
    and augmentation are in the checkpoint: a run that was interrupted anywhere ends, on a CPU, bit for bit as one
    that was not.

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
    _check_processes(algorithm, fabric)
    optimizer, generator = _optimizer(algorithm, training), torch.Generator()
    progress, rng = Progress(), dict[str, Tensor]()
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
        logits = predict(algorithm.classifier, parts.val, batch_size=max(batch, 256), fabric=fabric)
        model.train()
        return mean_loss(logits.numpy(), parts.val.labels[parts.val.indices])

    while progress.epoch < training.epochs:
        began, seen = time.monotonic(), 0
        batches = draw(parts.train.domain_of, batch, np.random.default_rng(seed_for("order", seed, progress.epoch)))
        generator.manual_seed(seed_for("augment", seed, progress.epoch))
        torch.manual_seed(seed_for("dropout", seed, progress.epoch, fabric.global_rank))
        if rng:
            generator.set_state(rng.pop("augment"))
            torch.set_rng_state(rng.pop("torch"))
        sums = {name: _double(value, fabric) for name, value in progress.sums.items()}
        if not progress.position:
            share = progress.epoch / training.epochs
            algorithm.start_epoch(functools.partial(in_order, parts.train, max(batch, 256), share, fabric))
        model.train()
        while progress.position < steps_per_epoch:
            step = progress.epoch * steps_per_epoch + progress.position
            positions = batches[progress.position]
            own = np.array_split(positions, fabric.world_size)[fabric.global_rank]
            examples = take(parts.train, own, step / steps, fabric)
            examples = augmented(augmentation, examples, generator, num_classes)
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate_at(step, steps)
            terms = algorithm.update(model, examples, fabric.backward)
            stepper.step()
            stepper.zero_grad()
            for name, term in terms.items():
                sums[name] = sums[name] + term if name in sums else _double(0.0, fabric) + term
            algorithm.end_step(step + 1, steps, validate)
            progress.position += 1
            seen += len(positions)
            if time.monotonic() - saved > CHECKPOINT_SECONDS and progress.position < steps_per_epoch:
                progress.sums = _finite(sums, label, progress, checkpoint_file)
                if fabric.is_global_zero:
                    save(checkpoint_file, progress, algorithm, optimizer, generator)
                saved = time.monotonic()
        train_terms = {
            name: value / steps_per_epoch for name, value in _finite(sums, label, progress, checkpoint_file).items()
        }
        trained, predictor = time.monotonic(), algorithm.predictor()
        progress.logits = {
            name: predict(predictor, source, batch_size=max(batch, 256), fabric=fabric)
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
                save(checkpoint_file, progress, algorithm, optimizer, generator)
            saved = time.monotonic()
    return progress


def predict(classifier: Classifier, source: Source, *, batch_size: int, fabric: Fabric) -> Tensor:
    """Logits ``[N, K]`` of a source's examples in order: float32, on the CPU, without dropout or augmentation."""
    classifier.eval()
    found = []
    with torch.inference_mode(), fabric.autocast():
        for positions in np.array_split(np.arange(len(source)), max(1, math.ceil(len(source) / batch_size))):
            inputs, _ = source.take(positions)
            found.append(classifier.logits(fabric.to_device(inputs)).float().cpu())
    return torch.cat(found)


def _evaluate(classifier: Classifier, parts: Parts, progress: Progress, train_terms: Mapping[str, float]) -> None:
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


def _check_processes(algorithm: Algorithm, fabric: Fabric) -> None:
    """Refuse an algorithm or a head that data-parallel training would mix up."""
    for module in algorithm.modules():
        if fabric.world_size > 1 and not getattr(module, "data_parallel", True):
            raise InputError(f"{type(module).__name__} does not train data-parallel: --devices must be 1")


def _optimizer(algorithm: Algorithm, training: Training) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in algorithm.parameters() if parameter.requires_grad]
    if training.optimizer == "adamw":
        if any(getattr(module, "sparse_gradients", False) for module in algorithm.modules()):
            raise InputError("--optimizer adamw does not take the sparse gradients of a sampled head; sgd does")
        return torch.optim.AdamW(
            parameters, training.learning_rate, betas=(training.momentum, 0.999), weight_decay=training.weight_decay
        )
    return RowwiseSGD(
        parameters, training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
    )


def _double(value: float, fabric: Fabric) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=fabric.device)


def _finite(sums: Mapping[str, Tensor], label: str, progress: Progress, checkpoint_file: Path) -> dict[str, float]:
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
