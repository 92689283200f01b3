"""Stage two's loop: a game between networks, epoch by epoch, resumable, for every kind of learned augmentation."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from afield.augment import NetworkAugmentation
from afield.records import seed_for
from afield.training import Subset, checkpoint

CHECKPOINT_SECONDS = 20.0
MEASURED = 512
"""Images of each part that are measured after an epoch: the first of them."""

Measures = dict[str, float]


@dataclass(frozen=True)
class Examples:
    """What a game learns from.

    Attributes:
        count: number of examples.
        take: indices ``[B]`` below `count`, and a generator -> the batch's tensors, as the game's ``step`` takes them.
    """

    count: int
    take: Callable[[NDArray[np.int64], Generator], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Learned:
    """What learning leaves.

    Attributes:
        augmentor: trained, ready to augment.
        epochs: the measures of each part by name, for each epoch; the first is before learning.
        collapses: failures by name, with the setting that helps; empty if all is well.
        seconds: of learning, without measuring.
    """

    augmentor: NetworkAugmentation
    epochs: list[dict[str, Measures]]
    collapses: dict[str, str]
    seconds: float


class Game(nn.Module):
    """The augmentor and its opponents. A checkpoint holds its state dict and the optimizers.

    Attributes:
        augmentor: what is learned.
        settings: a dataclass with at least ``epochs`` and ``batch_size``.
        optimizers: by the name of the module (an attribute of the game) that each optimizes.
        step: called with the tensors of a batch and a generator: every network takes its step.
    """

    augmentor: NetworkAugmentation
    step: Callable[..., None]
    settings: Any
    optimizers: dict[str, torch.optim.Optimizer]

    def move(self, name: str, loss: Tensor, retain_graph: bool = False) -> None:
        """One step of one optimizer on this loss; the gradient reaches only the optimizer's own parameters."""
        optimizer = self.optimizers[name]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=retain_graph)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


@dataclass
class LearnState:
    """The progress of learning, beside the state of the game."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epochs: list[dict[str, Measures]] = dataclasses.field(default_factory=list)


def play(
    game: Game,
    examples: Examples,
    measure: Callable[[Iterable[tuple[Tensor, Tensor]], Generator], Measures],
    diagnose: Callable[[Measures, Mapping[str, Any]], dict[str, str]],
    *,
    parts: Mapping[str, Subset],
    seed: int,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[int, int, str], None],
) -> Learned:
    """Play a game to its end, resuming from `checkpoint_file` if it exists; see `Method.learn`, also for arguments.

    Args:
        game: on the fabric's device, initialized.
        examples: what it learns from.
        measure: see `Method`, without the game.
        diagnose: see `Method`.
        parts: to measure after each epoch; the second is diagnosed and shown, or the first if it is the only one.
        seed: names the generators.
        checkpoint_file: written every 20 seconds and at the end.
        fabric: device and precision, of one process.
        on_epoch: called after each epoch.
    """
    settings, generator = game.settings, Generator()
    state = _restore(checkpoint_file, game, generator)
    shown = [name for name, part in parts.items() if len(part)][:2][-1]
    batch = min(settings.batch_size, examples.count)
    steps, saved = examples.count // batch, time.monotonic()
    if not state.epochs:
        state.epochs.append(_measured(measure, parts, fabric))
    while state.epoch < settings.epochs:
        order = np.random.default_rng(seed_for("augmentor order", seed, state.epoch)).permutation(examples.count)
        if not state.position:
            generator.manual_seed(seed_for("augmentor noise", seed, state.epoch))
        began = time.monotonic()
        while state.position < steps:
            indices = order[state.position * batch : (state.position + 1) * batch]
            with fabric.autocast():
                game.step(*fabric.to_device(examples.take(indices, generator)), generator)
            state.position += 1
            if time.monotonic() - saved > CHECKPOINT_SECONDS and state.position < steps:
                state.seconds += time.monotonic() - began
                _save(checkpoint_file, game, generator, state)
                began = saved = time.monotonic()
        state.seconds += time.monotonic() - began
        state.epochs.append(_measured(measure, parts, fabric))
        state.epoch, state.position = state.epoch + 1, 0
        on_epoch(state.epoch, settings.epochs, _brief(state.epochs[-1][shown]))
        if time.monotonic() - saved > CHECKPOINT_SECONDS or state.epoch == settings.epochs:
            _save(checkpoint_file, game, generator, state)
            saved = time.monotonic()
    collapses = diagnose(state.epochs[-1][shown], dataclasses.asdict(settings))
    for name, text in collapses.items():
        warnings.warn(f"the augmentor collapsed ({name}): {text}", stacklevel=3)
    return Learned(game.augmentor, state.epochs, collapses, state.seconds)


def _brief(measures: Measures) -> str:
    gain = measures["entropy_after"] - measures["entropy_before"]
    return (
        f"distance {measures['distance']:.2f}, entropy {gain:+.2f} bits, recognized "
        f"{100 * measures['recognized_before']:.0f} -> {100 * measures['recognized_after']:.0f} %"
    )


def _measured(
    measure: Callable[[Iterable[tuple[Tensor, Tensor]], Generator], Measures],
    parts: Mapping[str, Subset],
    fabric: Fabric,
) -> dict[str, Measures]:
    """The measures of every part, each on the same images and noise after every epoch."""

    def batches(source: Subset) -> Iterator[tuple[Tensor, Tensor]]:
        chosen = np.random.default_rng(seed_for("augmentor measured")).permutation(len(source))[:MEASURED]
        for positions in np.array_split(chosen, max(1, len(chosen) // 128)):
            yield fabric.to_device(source.take(positions))

    with fabric.autocast():
        return {
            name: measure(batches(source), Generator().manual_seed(seed_for("augmentor measured noise")))
            for name, source in parts.items()
            if len(source)
        }


def _save(path: Path, game: Game, generator: Generator, state: LearnState) -> None:
    tensors = {**checkpoint.prefixed("game", game.state_dict()), "rng": generator.get_state()}
    for name, optimizer in game.optimizers.items():
        tensors |= checkpoint.prefixed(f"optimizer {name}", checkpoint.optimizer_tensors(optimizer))
    checkpoint.save(path, tensors, dataclasses.asdict(state))


def _restore(path: Path, game: Game, generator: Generator) -> LearnState:
    found = checkpoint.resumed(path)
    if found is None:
        return LearnState()
    tensors, state = found
    game.load_state_dict(checkpoint.below("game", tensors))
    for name, optimizer in game.optimizers.items():
        checkpoint.load_optimizer(optimizer, checkpoint.below(f"optimizer {name}", tensors))
    generator.set_state(tensors["rng"])
    return LearnState(**state)
