"""The registry of augmentations that are learned on a classifier before they are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast, get_type_hints

import torch
from lightning_fabric import Fabric
from torch import nn

from afield.augment.learned.loop import Examples, Game, Learned, Measures, play
from afield.errors import InputError, unknown_name
from afield.records import seed_for
from afield.registry import Registry
from afield.training import Subset


@dataclass(frozen=True)
class Method:
    """A way to learn an augmentation.

    Attributes:
        settings: a dataclass of settings.
        game: made of settings and a classifier; it learns step by step.
        examples: training images -> what the game learns from.
        measure: the game, batches of images ``[B, 3, H, W]`` and class indices ``[B]``, and a generator -> figures by
            name; among them ``distance``, and ``entropy`` and ``recognized``, each ``_before`` and ``_after``.
        diagnose: measures and settings -> collapses, name by text.
    """

    settings: type
    game: Callable[[Any, nn.Module], Game]
    examples: Callable[[Subset], Examples]
    measure: Callable[..., Measures]
    diagnose: Callable[[Measures, Mapping[str, Any]], dict[str, str]]

    def learn(
        self,
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
            settings: of the method's dataclass.
            seed: names the generators.
            checkpoint_file: written every 20 seconds and at the end; the caller removes it.
            fabric: device and precision, of one process.
            on_epoch: called after each epoch, with its number, the number of epochs, and a line to show.

        Raises:
            InputError: training images that the method cannot learn from.
        """
        examples = self.examples(train)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("augmentor", seed))
            game = self.game(settings, classifier).to(fabric.device)
        return play(
            game,
            examples,
            partial(self.measure, game),
            self.diagnose,
            parts={"train": train, **watched},
            seed=seed,
            checkpoint_file=checkpoint_file,
            fabric=fabric,
            on_epoch=on_epoch,
        )


AUGMENTORS: Registry[Method] = Registry("learned augmentation")


def read_settings(kind: type, options: Mapping[str, Any], where: str) -> Any:
    """A dataclass of settings from a mapping, nested ones from nested mappings.

    Raises:
        InputError: an unknown field (the nearest are given), or a value outside its range.
    """
    hints = get_type_hints(kind)
    values = dict(options)
    for name, value in options.items():
        if name not in hints:
            unknown_name(f"setting of {where}:", name, hints)
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}: {name} is a table of settings, got {value!r}")
            values[name] = read_settings(cast(type, hints[name]), value, f"{where}.{name}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
