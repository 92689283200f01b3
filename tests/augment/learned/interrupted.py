"""Learning of an augmentation that is interrupted and goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from afield.augment.learned import Learned, loop
from afield.augment.learned.loop import Game


def ends_the_same(
    learn: Callable[[Path], Learned],
    whole: Learned,
    game: type[Game],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    last: int,
) -> None:
    """Assert that learning that is interrupted after `last` steps ends with the weights and measures of `whole`."""
    step, count = game.step, 0

    def dying(*arguments):
        nonlocal count
        count += 1
        if count > last:
            raise KeyboardInterrupt
        step(*arguments)

    file = folder / "again.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(game, "step", dying)
        patch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            learn(file)
    again = learn(file)
    assert again.epochs == whole.epochs
    assert again.augmentor.digest == whole.augmentor.digest
    assert learn(file).augmentor.digest == whole.augmentor.digest  # nothing left to do
