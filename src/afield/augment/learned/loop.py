"""The resumable training loop of learned augmentations, the second stage of a run."""

import dataclasses
import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from afield.augment import NetworkAugmentation
from afield.fabric import Fabric
from afield.records import seed_for
from afield.registry import Registry
from afield.training import Subset, checkpoint

CHECKPOINT_SECONDS = 20.0
MEASURED = 512
"""Largest number of images of each part for measurements after an epoch."""

Measures = dict[str, float]


@dataclass(frozen=True)
class Examples:
    """Training examples of a game.

    Attributes:
        count: number of examples.
        take: maps indices ``[B]`` below `count` and a generator to the tensors of a batch, the arguments of ``step``.
    """

    count: int
    take: Callable[[NDArray[np.int64], Generator], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Learned:
    """The result of training a learned augmentation.

    Attributes:
        augmentor: trained augmentor.
        settings: settings of the game.
        epochs: measures of each part by name, for each epoch. The first element is before training.
        collapses: failures by name, with a setting that helps; empty if there is none.
        seconds: duration of training, without measurements.
    """

    augmentor: NetworkAugmentation
    settings: Any
    epochs: list[dict[str, Measures]]
    collapses: dict[str, str]
    seconds: float


@dataclass
class LearnState:
    """The progress of training, without the state of the networks."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epochs: list[dict[str, Measures]] = dataclasses.field(default_factory=list)


class Game(nn.Module):
    """Base class of the adversarial training of an augmentor: the networks, their updates, measures and diagnosis.

    A checkpoint contains its state dict and those of the optimizers.

    Attributes:
        settings_type: dataclass of settings with at least ``epochs`` and ``batch_size``.
        diagnose: maps measures and settings to collapses, texts by name.
        augmentor: augmentor to train.
        settings: settings of the type above.
        optimizers: optimizers by name.
        step: called with the tensors of a batch and a generator; updates the networks.
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

    @classmethod
    def check(cls, settings: Any, train: Subset, class_names: Sequence[str]) -> None:
        """Raise `InputError` if settings, training images and names of the K classes do not fit together."""

    @classmethod
    def create(cls, settings: Any, classifier: nn.Module, train: Subset, class_names: Sequence[str]) -> Self:
        """Create the game for these training images, with the names of the K classes."""
        return cls(settings, classifier)

    @abstractmethod
    def examples(self, train: Subset) -> Examples:
        """Create the training examples from the training images."""

    def measured_images(self, part: Subset) -> Subset:
        """The images of a part that `measure` measures."""
        return part

    @staticmethod
    def passes(settings: Any, steps: int) -> int:
        """The number of passes over the examples in an epoch, from the settings and the number of steps of a pass."""
        return 1

    def finished(self, measures: Measures, steps: int) -> bool:
        """Whether training can stop after an epoch, from the measures on training images and the steps so far."""
        return False

    @abstractmethod
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]], generator: Generator) -> Measures:
        """Measure the augmentor on batches of images ``[B, 3, H, W]`` in [0, 1] and class indices ``[B]``.

        The measures include ``distance``, ``entropy_before``, ``entropy_after``, ``recognized_before`` and
        ``recognized_after``.
        """

    @classmethod
    def collapses(cls, first: Measures, last: Measures, settings: Any) -> dict[str, str]:
        """The collapses at the end of training, from the measures before it and after it: texts by name."""
        return cls.diagnose(last, dataclasses.asdict(settings))

    def move(self, name: str, loss: Tensor, retain_graph: bool = False) -> None:
        """Take a step of one optimizer on this loss. Only the parameters of this optimizer get gradients."""
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
        class_names: Sequence[str] | None = None,
        on_epoch: Callable[[int, int, str], None] = lambda epoch, epochs, detail: None,
    ) -> Learned:
        """Train an augmentation for a classifier. Resumes from `checkpoint_file` if it exists.

        All random numbers depend only on `seed` and the epoch. On a CPU, a resumed run gives the same result as an
        uninterrupted one, bit for bit. If the augmentor collapses, a warning is issued at the end.

        Args:
            classifier: trained classifier, images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``. It does not change.
            train: training images.
            watched: other parts to measure after each epoch. The first of them is used for the diagnosis.
            settings: settings of type `settings_type`.
            seed: seed of all random numbers.
            checkpoint_file: file to write every 20 seconds and at the end. The caller removes it.
            fabric: device and precision, of one process.
            class_names: names of the K classes; None: their indices.
            on_epoch: called after each epoch, with its number, the number of epochs, and a line of text.

        Raises:
            InputError: if the training images are not suitable.
        """
        names = class_names or [str(index) for index in range(train.labels.max() + 1)]
        cls.check(settings, train, names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("augmentor", seed))
            game = cls.create(settings, classifier, train, names).to(fabric.device)
        examples = game.examples(train)
        parts = {name: game.measured_images(part) for name, part in {"train": train, **watched}.items()}
        generator = Generator()
        state = _restore(checkpoint_file, game, generator)
        shown = [name for name, part in parts.items() if len(part)][:2][-1]
        batch = min(settings.batch_size, examples.count)
        passes, saved = cls.passes(settings, examples.count // batch), time.monotonic()
        steps = passes * (examples.count // batch)
        if not state.epochs:
            state.epochs.append(_measured(game, parts, fabric))

        def ended() -> bool:
            return state.epoch == settings.epochs or game.finished(state.epochs[-1]["train"], state.epoch * steps)

        while not ended():
            order = _order(examples.count, batch, passes, seed, state.epoch)
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
            if time.monotonic() - saved > CHECKPOINT_SECONDS or ended():
                _save(checkpoint_file, game, generator, state)
                saved = time.monotonic()
        collapses = cls.collapses(state.epochs[0][shown], state.epochs[-1][shown], settings)
        for name, text in collapses.items():
            warnings.warn(f"the augmentor collapsed ({name}): {text}", stacklevel=2)
        return Learned(game.augmentor, game.settings, state.epochs, collapses, state.seconds)


AUGMENTORS: Registry[type[Game]] = Registry("learned augmentation")


def recognition(
    classifier: nn.Module, teacher: nn.Module, images: Tensor, targets: Tensor, when: str
) -> dict[str, Tensor]:
    """The entropy of the classifier in bits, summed over a batch, and the number of images recognized by the teacher.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``.
        teacher: module with the same interface, often the same module.
        images: images ``[B, 3, H, W]`` in [0, 1].
        targets: class indices ``[B]``.
        when: suffix of the names of the results, ``before`` or ``after`` the augmentation.
    """
    log_p = classifier(images).float().log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum() / math.log(2)
    recognized = (teacher(images).argmax(dim=1) == targets).sum().float()
    return {f"entropy_{when}": entropy, f"recognized_{when}": recognized}


def _order(count: int, batch: int, passes: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices of the examples of an epoch: whole batches of a permutation for each pass."""
    whole = count // batch * batch
    seeds = (seed_for("augmentor order", seed, epoch, *([number] if number else [])) for number in range(passes))
    return np.concatenate([np.random.default_rng(each).permutation(count)[:whole] for each in seeds])


def _brief(measures: Measures) -> str:
    gain = measures["entropy_after"] - measures["entropy_before"]
    return (
        f"distance {measures['distance']:.2f}, entropy {gain:+.2f} bits, recognized "
        f"{100 * measures['recognized_before']:.0f} -> {100 * measures['recognized_after']:.0f} %"
    )


def _measured(game: Game, parts: Mapping[str, Subset], fabric: Fabric) -> dict[str, Measures]:
    """The measures of every part. Images and noise are the same after every epoch."""

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
