"""Stage two: the augmentor learns against a trained classifier, epoch by epoch, resumable."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Generator, Tensor, nn

from afield.augmentors.game import AffineGame
from afield.augmentors.measures import measure
from afield.augmentors.registry import AUGMENTORS, Learned, Method
from afield.augmentors.settings import AffineSettings
from afield.evaluation import diagnose
from afield.records import seed_for
from afield.training import Source, checkpoint

CHECKPOINT_SECONDS = 20.0
MEASURED = 512
"""Images of each part that are measured after an epoch: the first of them."""


@dataclass
class Stand:
    """Where learning stands, beside the state of the game."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epochs: list[dict[str, dict[str, float]]] = dataclasses.field(default_factory=list)


def learn_affine(
    classifier: nn.Module,
    train: Source,
    watched: Mapping[str, Source],
    settings: AffineSettings,
    *,
    seed: int,
    checkpoint_file: Path,
    fabric: Fabric,
    on_epoch: Callable[[int, int, str], None] = lambda epoch, epochs, detail: None,
) -> Learned:
    """Train an `AffineAugmentor` on a classifier, resuming from `checkpoint_file` where there is one.

    Every random choice comes from generators named by `seed` and the epoch: on a CPU, an interrupted run ends bit
    for bit as one that was not. A collapse is warned of at the end.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; trained, and not changed here.
        train: the images to learn on.
        watched: other parts to measure after each epoch; what is warned of is told from the first of them.
        settings: see `AffineSettings`.
        seed: names the generators.
        checkpoint_file: written every 20 seconds and at the end; the caller removes it.
        fabric: device and precision, of one process.
        on_epoch: called after each epoch, with its number, how many there are, and a line to show.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("augmentor", seed))
        game = AffineGame(settings, classifier).to(fabric.device)
    generator, stand = Generator(), Stand()
    if checkpoint_file.exists():
        stand = _restore(checkpoint_file, game, generator)
    parts = {"train": train, **watched}
    first = next(iter(watched), "train")
    batch = min(settings.batch_size, len(train))
    steps, saved = len(train) // batch, time.monotonic()
    if not stand.epochs:
        stand.epochs.append(_measure(game, parts, fabric))
    while stand.epoch < settings.epochs:
        order = np.random.default_rng(seed_for("augmentor order", seed, stand.epoch)).permutation(len(train))
        if not stand.position:
            generator.manual_seed(seed_for("augmentor noise", seed, stand.epoch))
        began = time.monotonic()
        while stand.position < steps:
            positions = order[stand.position * batch : (stand.position + 1) * batch]
            images, targets = fabric.to_device(train.take(positions))
            with fabric.autocast():
                game.step(images, targets, generator)
            stand.position += 1
            if time.monotonic() - saved > CHECKPOINT_SECONDS and stand.position < steps:
                stand.seconds += time.monotonic() - began
                _save(checkpoint_file, game, generator, stand)
                began = saved = time.monotonic()
        stand.seconds += time.monotonic() - began
        stand.epochs.append(_measure(game, parts, fabric))
        stand.epoch, stand.position = stand.epoch + 1, 0
        on_epoch(stand.epoch, settings.epochs, _brief(stand.epochs[-1][first]))
        if time.monotonic() - saved > CHECKPOINT_SECONDS or stand.epoch == settings.epochs:
            _save(checkpoint_file, game, generator, stand)
            saved = time.monotonic()
    collapses = diagnose(stand.epochs[-1][first], dataclasses.asdict(settings))
    for name, text in collapses.items():
        warnings.warn(f"the augmentor collapsed ({name}): {text}", stacklevel=2)
    return Learned(game.augmentor, stand.epochs, collapses, stand.seconds)


def _brief(measures: Mapping[str, float]) -> str:
    gain = measures["entropy_after"] - measures["entropy_before"]
    return (
        f"distance {measures['distance']:.2f}, entropy {gain:+.2f} bits, recognised "
        f"{100 * measures['recognised_before']:.0f} -> {100 * measures['recognised_after']:.0f} %"
    )


def _measure(game: AffineGame, parts: Mapping[str, Source], fabric: Fabric) -> dict[str, dict[str, float]]:
    """The measures of every part, each on the same images and noise after every epoch."""

    def batches(source: Source) -> Iterator[tuple[Tensor, Tensor]]:
        chosen = np.random.default_rng(seed_for("augmentor measured")).permutation(len(source))[:MEASURED]
        for positions in np.array_split(chosen, max(1, len(chosen) // 128)):
            yield fabric.to_device(source.take(positions))

    with fabric.autocast():
        return {
            name: measure(game, batches(source), Generator().manual_seed(seed_for("augmentor measured noise")))
            for name, source in parts.items()
            if len(source)
        }


def _save(path: Path, game: AffineGame, generator: Generator, stand: Stand) -> None:
    tensors = {**checkpoint.prefixed("game", game.state_dict()), "rng": generator.get_state()}
    for name, optimizer in game.optimizers.items():
        tensors |= checkpoint.prefixed(f"optimizer {name}", checkpoint.optimizer_tensors(optimizer))
    checkpoint.save(path, tensors, dataclasses.asdict(stand))


def _restore(path: Path, game: AffineGame, generator: Generator) -> Stand:
    tensors, state = checkpoint.load(path)
    game.load_state_dict(checkpoint.below("game", tensors))
    for name, optimizer in game.optimizers.items():
        module: Any = getattr(game, name)
        checkpoint.load_optimizer(optimizer, module, checkpoint.below(f"optimizer {name}", tensors))
    generator.set_state(tensors["rng"])
    return Stand(**state)


AUGMENTORS.add(
    "learned",
    Method(AffineSettings, learn_affine),
    summary="An affine transformation chosen for each image, by entropy as far as a teacher still recognises it.",
    reference="Learned augmentation, seen as active learning (paper B).",
)
