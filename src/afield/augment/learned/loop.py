"""Stage two's loop: a game is played epoch by epoch, resumably, whatever is learned."""

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

from afield.augment.learned.registry import Augmentor, Learned
from afield.records import seed_for
from afield.training import Subset, checkpoint

CHECKPOINT_SECONDS = 20.0
MEASURED = 512
"""Images of each part that are measured after an epoch: the first of them."""

Measures = dict[str, float]


class Game(nn.Module):
    """The augmentor and those it plays against. Its state dict is all that a checkpoint needs beside the optimizers.

    Attributes:
        augmentor: what is learned.
        settings: a dataclass with at least ``epochs`` and ``batch_size``.
        optimizers: by the name of the module, an attribute of the game, that each moves.
    """

    augmentor: Augmentor
    settings: Any
    optimizers: dict[str, torch.optim.Optimizer]

    def move(self, name: str, loss: Tensor, retain_graph: bool = False) -> None:
        """One optimizer's step along the gradient of this loss, which reaches nobody else's parameters."""
        optimizer = self.optimizers[name]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=retain_graph)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


@dataclass
class Stand:
    """Where learning stands, beside the state of the game."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epochs: list[dict[str, Measures]] = dataclasses.field(default_factory=list)


def play(
    game: Game,
    step: Callable[[NDArray[np.int64], Generator], None],
    measure: Callable[[Iterable[tuple[Tensor, Tensor]], Generator], Measures],
    diagnose: Callable[[Measures, Mapping[str, Any]], dict[str, str]],
    *,
    count: int,
    parts: Mapping[str, Subset],
    seed: int,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[int, int, str], None],
) -> Learned:
    """Play a game to its end, from `checkpoint_file` where there is one. A collapse is warned of at the end.

    Every random choice comes from generators named by `seed` and the epoch, so that an interrupted game ends, on a
    CPU, bit for bit as one that was not.

    Args:
        game: on the fabric's device, as it is initialized.
        step: plays one batch: the places ``[B]`` of its examples, of `count`, and a generator.
        measure: of batches of images ``[B, 3, H, W]`` and class indices ``[B]``; ``distance``, ``entropy_before``,
            ``entropy_after``, ``recognized_before`` and ``recognized_after`` are among what it gives.
        diagnose: collapses by name, from measures and the settings as a mapping.
        count: of examples.
        parts: to measure after each epoch; the second is diagnosed and shown, or the first if it is alone.
        seed: names the generators.
        checkpoint_file: written every 20 seconds and at the end; the caller removes it.
        fabric: device and precision, of one process.
        on_epoch: called after each epoch, with its number, how many there are, and a line to show.
    """
    settings, generator, stand = game.settings, Generator(), Stand()
    if checkpoint_file.exists():
        stand = _restore(checkpoint_file, game, generator)
    shown = [name for name, part in parts.items() if len(part)][:2][-1]
    batch = min(settings.batch_size, count)
    steps, saved = count // batch, time.monotonic()
    if not stand.epochs:
        stand.epochs.append(_measured(measure, parts, fabric))
    while stand.epoch < settings.epochs:
        order = np.random.default_rng(seed_for("augmentor order", seed, stand.epoch)).permutation(count)
        if not stand.position:
            generator.manual_seed(seed_for("augmentor noise", seed, stand.epoch))
        began = time.monotonic()
        while stand.position < steps:
            with fabric.autocast():
                step(order[stand.position * batch : (stand.position + 1) * batch], generator)
            stand.position += 1
            if time.monotonic() - saved > CHECKPOINT_SECONDS and stand.position < steps:
                stand.seconds += time.monotonic() - began
                _save(checkpoint_file, game, generator, stand)
                began = saved = time.monotonic()
        stand.seconds += time.monotonic() - began
        stand.epochs.append(_measured(measure, parts, fabric))
        stand.epoch, stand.position = stand.epoch + 1, 0
        on_epoch(stand.epoch, settings.epochs, _brief(stand.epochs[-1][shown]))
        if time.monotonic() - saved > CHECKPOINT_SECONDS or stand.epoch == settings.epochs:
            _save(checkpoint_file, game, generator, stand)
            saved = time.monotonic()
    collapses = diagnose(stand.epochs[-1][shown], dataclasses.asdict(settings))
    for name, text in collapses.items():
        warnings.warn(f"the augmentor collapsed ({name}): {text}", stacklevel=3)
    return Learned(game.augmentor, stand.epochs, collapses, stand.seconds)


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


def _save(path: Path, game: Game, generator: Generator, stand: Stand) -> None:
    tensors = {**checkpoint.prefixed("game", game.state_dict()), "rng": generator.get_state()}
    for name, optimizer in game.optimizers.items():
        tensors |= checkpoint.prefixed(f"optimizer {name}", checkpoint.optimizer_tensors(optimizer))
    checkpoint.save(path, tensors, dataclasses.asdict(stand))


def _restore(path: Path, game: Game, generator: Generator) -> Stand:
    tensors, state = checkpoint.load(path)
    game.load_state_dict(checkpoint.below("game", tensors))
    for name, optimizer in game.optimizers.items():
        checkpoint.load_optimizer(optimizer, checkpoint.below(f"optimizer {name}", tensors))
    generator.set_state(tensors["rng"])
    return Stand(**state)
