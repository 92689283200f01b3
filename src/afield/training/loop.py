"""The training loop: epochs of steps, evaluation after each epoch, and checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from afield.algorithms import Algorithm, Batch, Terms, total
from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.errors import InputError
from afield.fabric import Fabric
from afield.records import Epoch, seed_for
from afield.settings import TrainConfig
from afield.training.batches import DRAWS, in_order, labeled, micro_batch
from afield.training.evaluation import add_epoch, predict_watched, validation_loss
from afield.training.optimizer import build_optimizer
from afield.training.prepare import prepared
from afield.training.state import TrainState, restore, save
from afield.training.subset import Splits
from afield.training.target import target_batches

CHECKPOINT_SECONDS = 20.0


class DivergedError(InputError):
    """The loss is NaN or infinite. The last good checkpoint is kept."""


@dataclass(frozen=True)
class EpochReport:
    """Data for a progress display, a log or a checkpoint after an epoch.

    Attributes:
        label: name of the run.
        epoch: number of the epoch, from 1.
        epochs: number of epochs of the training.
        train_loss: mean training loss of the epoch.
        images_per_second: training speed.
        seconds_left: estimated duration of the remaining epochs.
        history: metrics of all epochs so far, also of those before an interruption.
        metric: name of the metric that selects the best epoch.
        classifier: the model that was evaluated.
    """

    label: str
    epoch: int
    epochs: int
    train_loss: float
    images_per_second: float
    seconds_left: float
    history: tuple[Epoch, ...]
    metric: str
    classifier: Classifier

    @property
    def validation_accuracy(self) -> float:
        """The accuracy on validation images."""
        return self.history[-1].validation["accuracy"]


def fit(
    algorithm: Algorithm,
    parts: Splits,
    training: TrainConfig,
    augmentation: Augmentation,
    *,
    seed: int,
    label: str,
    checkpoint_file: Path | None,
    fabric: Fabric,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    predict_parts: Callable[[Classifier], dict[str, Tensor]] | None = None,
    metric: str = "accuracy",
) -> TrainState:
    """Train, or resume training from `checkpoint_file` if it exists.

    All random numbers come from generators seeded by `seed` and the epoch. A checkpoint contains the generators of
    dropout, algorithm and augmentation, so that an interrupted run on a CPU gives the same result, bit for bit, as an
    uninterrupted one. Batches are prepared in the background. With several processes, each process draws the whole
    batch and trains on its part, so that only dropout depends on the number of processes.

    Args:
        algorithm: algorithm with its classifier; both are trained in place.
        parts: training, validation and test examples.
        training: training settings.
        augmentation: augmentation of training batches of images.
        seed: seed of all generators.
        label: name of the run in messages.
        checkpoint_file: written every `CHECKPOINT_SECONDS`; the caller removes it. None writes no checkpoints.
        fabric: device, precision and processes.
        on_epoch: called after each epoch.
        predict_parts: from the classifier of an epoch to logits of each watched part by name; without it, the
            classifier predicts all parts as it is.
        metric: name of the metric on validation images that selects the best epoch.

    Raises:
        DivergedError: if the loss is not finite.
        InputError: if balanced batches are smaller than the number of domains.
    """
    algorithm.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(algorithm, training)
    state, generators = restore(checkpoint_file, algorithm, optimizer, fabric, metric)
    model, stepper = fabric.setup(algorithm, optimizer)
    checkpoint = _Checkpoint(checkpoint_file, algorithm, optimizer, fabric)
    batch_size = min(training.batch_size, len(parts.train))
    steps_per_epoch = len(parts.train) // batch_size
    steps = training.epochs * steps_per_epoch
    sampling = algorithm.sampling if training.sampling == "auto" else training.sampling
    draw = DRAWS[sampling]
    validate = partial(validation_loss, algorithm, parts.val, batch_size, fabric)
    augment_generator, target_generator = torch.Generator(), torch.Generator()
    target = parts.target if algorithm.uses_target else None
    zero = _double(0.0, fabric)
    predict_parts = predict_parts or partial(predict_watched, parts=parts, batch_size=batch_size, fabric=fabric)

    while state.epoch < training.epochs and not state.stopped(training.patience):
        # Batches and generators of the epoch. The generators are seeded, or restored from the checkpoint.
        began, first = time.monotonic(), state.position
        batches = draw(parts.train, batch_size, np.random.default_rng(seed_for("order", seed, state.epoch)))
        _check_micro_batches(algorithm, len(batches[0]), training.accumulate, fabric)
        augment_generator.manual_seed(seed_for("augment", seed, state.epoch))
        target_generator.manual_seed(seed_for("target augment", seed, state.epoch))
        torch.manual_seed(seed_for("dropout", seed, state.epoch, fabric.global_rank))
        if generators:
            augment_generator.set_state(generators.pop("augment"))
            target_generator.set_state(generators.pop("target", target_generator.get_state()))
            torch.set_rng_state(generators.pop("torch"))
        sums = {name: _double(value, fabric) for name, value in state.sums.items()}
        algorithm.set_progress(state.epoch / training.epochs)
        if first == 0:
            evaluation_batch = parts.train.evaluation_batch(batch_size)
            algorithm.start_epoch(
                partial(in_order, parts.train, evaluation_batch, state.epoch / training.epochs, fabric)
            )
        model.train()

        # Training steps.
        examples = prepared(
            parts.train.with_random_views(np.random.default_rng(seed_for("views", seed, state.epoch))),
            batches[first:],
            augmentation,
            augment_generator,
            num_classes=algorithm.classifier.num_classes,
            fabric=fabric,
            epoch=state.epoch,
            seed=seed,
        )
        targets = target_batches(
            target,
            len(batches[0]),
            range(first, steps_per_epoch),
            augmentation,
            target_generator,
            num_classes=algorithm.classifier.num_classes,
            fabric=fabric,
            epoch=state.epoch,
            seed=seed,
        )
        with closing(examples), closing(targets):
            for indices, ready, unlabeled in zip(batches[first:], examples, targets, strict=True):
                step = state.epoch * steps_per_epoch + state.position
                for group in optimizer.param_groups:
                    group["lr"] = group["rate"] * training.learning_rate_at(step, steps)
                other = None if unlabeled is None else unlabeled.inputs
                batch = labeled(ready.inputs, ready.targets, parts.train, indices, step / steps, fabric, other)
                for name, term in _update(algorithm, model, batch, training.accumulate, fabric).items():
                    sums[name] = sums.get(name, zero) + term
                if training.clip_grad:
                    fabric.clip_gradients(model, stepper, max_norm=training.clip_grad, error_if_nonfinite=False)
                stepper.step()
                stepper.zero_grad()
                algorithm.end_step(step + 1, steps, validate)
                state.position += 1
                if checkpoint.due and state.position < steps_per_epoch:
                    state.sums = _finite(sums, label, state, checkpoint_file)
                    drawn = {} if unlabeled is None else {"target": unlabeled.drawn}
                    checkpoint.write(state, {"augment": ready.drawn, **drawn})

        # Evaluation, report and checkpoint.
        means = {name: cast(Tensor, fabric.all_reduce(value / steps_per_epoch)) for name, value in sums.items()}
        train_terms = _finite(means, label, state, checkpoint_file)
        trained, predictor = time.monotonic(), algorithm.predictor()
        state.logits = predict_parts(predictor)
        _finite({name: logits.sum() for name, logits in state.logits.items()}, label, state, checkpoint_file)
        add_epoch(predictor, parts, state, train_terms)
        state.epoch, state.position, state.sums = state.epoch + 1, 0, {}
        on_epoch(
            EpochReport(
                label=label,
                epoch=state.epoch,
                epochs=training.epochs,
                train_loss=total(train_terms),
                images_per_second=sum(map(len, batches[first:])) / max(trained - began, 1e-9),
                seconds_left=(time.monotonic() - began) * (training.epochs - state.epoch),
                history=tuple(state.epochs),
                metric=metric,
                classifier=predictor,
            )
        )
        if checkpoint.due or state.epoch == training.epochs or state.stopped(training.patience):
            checkpoint.write(state, {"augment": augment_generator.get_state()})
    return state


@dataclass
class _Checkpoint:
    """A checkpoint file, if there is one, due when `CHECKPOINT_SECONDS` have passed since it was last written."""

    path: Path | None
    algorithm: Algorithm
    optimizer: torch.optim.Optimizer
    fabric: Fabric
    written: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        return self.path is not None and time.monotonic() - self.written > CHECKPOINT_SECONDS

    def write(self, state: TrainState, drawn: Mapping[str, Tensor]) -> None:
        if self.path is not None and self.fabric.is_global_zero:
            save(self.path, state, self.algorithm, self.optimizer, drawn, self.fabric)
        self.written = time.monotonic()


def _update(algorithm: Algorithm, model: Any, batch: Batch, accumulate: int, fabric: Fabric) -> Terms:
    """Accumulate the gradients of this process's micro-batches; return the mean of each term."""
    means: Terms = {}
    for index in range(accumulate):
        own = micro_batch(batch, fabric.global_rank * accumulate + index, fabric.world_size * accumulate)
        with fabric.no_backward_sync(model, enabled=fabric.world_size > 1 and index < accumulate - 1):
            terms = algorithm.update(model, own, lambda loss: fabric.backward(loss / accumulate))
        means = {name: means.get(name, 0.0) + term / accumulate for name, term in terms.items()}
    return means


def _check_micro_batches(algorithm: Algorithm, batch: int, accumulate: int, fabric: Fabric) -> None:
    """Raise `InputError` if micro-batches are unequal, or a module does not support data parallelism."""
    if batch % (fabric.world_size * accumulate):
        parts = f"{fabric.world_size} devices, --accumulate {accumulate}"
        raise InputError(f"a batch of {batch} cannot be divided equally: {parts}")
    for module in algorithm.modules():
        if fabric.world_size > 1 and not getattr(module, "data_parallel", True):
            raise InputError(f"{type(module).__name__} does not support data parallelism: --devices must be 1")


def _double(value: float, fabric: Fabric) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=fabric.device)


def _finite(
    sums: Mapping[str, Tensor], label: str, state: TrainState, checkpoint_file: Path | None
) -> dict[str, float]:
    """Convert sums to numbers. Raise `DivergedError` if one is NaN or infinite."""
    values = {name: float(value) for name, value in sums.items()}
    for value in values.values():
        if not math.isfinite(value):
            there = checkpoint_file is not None and checkpoint_file.exists()
            kept = f"the last good checkpoint is {checkpoint_file}" if there else "no checkpoint yet"
            raise DivergedError(
                f"the loss of {label} became {value} in epoch {state.epoch + 1}; "
                f"a lower --learning-rate often helps ({kept})"
            )
    return values
