"""Stage two's loop: a game between networks, epoch by epoch, resumable, for every kind of learned augmentation."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from afield.augment import NetworkAugmentation
from afield.records import seed_for
from afield.registry import Registry
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


@dataclass
class LearnState:
    """The progress of learning, beside the state of the game."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epochs: list[dict[str, Measures]] = dataclasses.field(default_factory=list)


class Game(nn.Module):
    """The augmentor and its opponents: how they learn, what is measured of them, and how they fail.

    A checkpoint holds its state dict and the optimizers.

    Attributes:
        settings_type: a dataclass with at least ``epochs`` and ``batch_size``.
        diagnose: measures and settings -> collapses, name by text.
        augmentor: what is learned.
        settings: of the type above.
        optimizers: by the name of the module (an attribute of the game) that each optimizes.
        step: called with the tensors of a batch and a generator: every network takes its step.
    """

    settings_type: ClassVar[type]
    diagnose: Callable[[Measures, Mapping[str, Any]], dict[str, str]]
    augmentor: NetworkAugmentation
    settings: Any
    optimizers: dict[str, torch.optim.Optimizer]
    step: Callable[..., None]

    @abstractmethod
    def __init__(self, settings: Any, classifier: nn.Module) -> None:
        super().__init__()

    @staticmethod
    @abstractmethod
    def examples(train: Subset) -> Examples:
        """What the game learns from, given the training images."""

    @abstractmethod
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> Measures:
        """Figures of batches of images ``[B, 3, H, W]`` in [0, 1] and class indices ``[B]``, by name.

        Among them are ``distance``, and ``entropy`` and ``recognized``, each ``_before`` and ``_after``.
        """

    def move(self, name: str, loss: Tensor, retain_graph: bool = False) -> None:
        """One step of one optimizer on this loss; the gradient reaches only the optimizer's own parameters."""
        optimizer = self.optimizers[name]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=retain_graph)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()

    @classmethod
    def learn(
        cls,
        classifier: nn.Module,
        train: Subset,
        watched: Mapping[str, Subset],
        settings: Any,
        *,
        seed: int,
        checkpoint_file: Path,
        fabric: Fabric,
        on_epoch: Callable[[int, int, str], None] = lambda epoch, epochs, detail: None,
    ) -> Learned:
        """Learn an augmentation on a classifier, resuming from `checkpoint_file` if it exists.

        Every random choice comes from generators named by `seed` and the epoch: on a CPU, an interrupted run ends bit
        for bit like an uninterrupted one. A collapse gives a warning at the end.

        Args:
            classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``; trained, and not changed here.
            train: the images to learn on.
            watched: other parts to measure after each epoch; the first of them is diagnosed.
            settings: of the game's `settings_type`.
            seed: names the generators.
            checkpoint_file: written every 20 seconds and at the end; the caller removes it.
            fabric: device and precision, of one process.
            on_epoch: called after each epoch, with its number, the number of epochs, and a line to show.

        Raises:
            InputError: training images that the game cannot learn from.
        """
        examples, parts = cls.examples(train), {"train": train, **watched}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("augmentor", seed))
            game = cls(settings, classifier).to(fabric.device)
        generator = Generator()
        state = _restore(checkpoint_file, game, generator)
        shown = [name for name, part in parts.items() if len(part)][:2][-1]
        batch = min(settings.batch_size, examples.count)
        steps, saved = examples.count // batch, time.monotonic()
        if not state.epochs:
            state.epochs.append(_measured(game, parts, fabric))
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
            state.epochs.append(_measured(game, parts, fabric))
            state.epoch, state.position = state.epoch + 1, 0
            on_epoch(state.epoch, settings.epochs, _brief(state.epochs[-1][shown]))
            if time.monotonic() - saved > CHECKPOINT_SECONDS or state.epoch == settings.epochs:
                _save(checkpoint_file, game, generator, state)
                saved = time.monotonic()
        collapses = cls.diagnose(state.epochs[-1][shown], dataclasses.asdict(settings))
        for name, text in collapses.items():
            warnings.warn(f"the augmentor collapsed ({name}): {text}", stacklevel=2)
        return Learned(game.augmentor, state.epochs, collapses, state.seconds)


AUGMENTORS: Registry[type[Game]] = Registry("learned augmentation")


def recognition(
    classifier: nn.Module, teacher: nn.Module, images: Tensor, targets: Tensor, when: str
) -> dict[str, Tensor]:
    """The classifier's entropy in bits and the number of images that the teacher recognizes, summed over a batch.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``.
        teacher: the same interface, often the same module.
        images: ``[B, 3, H, W]`` in [0, 1].
        targets: class indices ``[B]``.
        when: ``before`` or ``after`` the augmentation; ends the names ``entropy_`` and ``recognized_``.
    """
    log_p = classifier(images).float().log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum() / math.log(2)
    recognized = (teacher(images).argmax(dim=1) == targets).sum().float()
    return {f"entropy_{when}": entropy, f"recognized_{when}": recognized}


def _brief(measures: Measures) -> str:
    gain = measures["entropy_after"] - measures["entropy_before"]
    return (
        f"distance {measures['distance']:.2f}, entropy {gain:+.2f} bits, recognized "
        f"{100 * measures['recognized_before']:.0f} -> {100 * measures['recognized_after']:.0f} %"
    )


def _measured(game: Game, parts: Mapping[str, Subset], fabric: Fabric) -> dict[str, Measures]:
    """The measures of every part, each on the same images and noise after every epoch."""

    def batches(source: Subset) -> Iterator[tuple[Tensor, Tensor]]:
        chosen = np.random.default_rng(seed_for("augmentor measured")).permutation(len(source))[:MEASURED]
        for positions in np.array_split(chosen, max(1, len(chosen) // 128)):
            yield fabric.to_device(source.take(positions))

    with fabric.autocast():
        return {
            name: game.measure(batches(source), Generator().manual_seed(seed_for("augmentor measured noise")))
            for name, source in parts.items()
            if len(source)
        }


def _save(path: Path, game: Game, generator: Generator, state: LearnState) -> None:
    optimizers = {f"optimizer {name}": checkpoint.optimizer_tensors(each) for name, each in game.optimizers.items()}
    tensors = {**checkpoint.flat({"game": game.state_dict(), **optimizers}), "rng": generator.get_state()}
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
