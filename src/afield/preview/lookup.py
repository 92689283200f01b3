"""Find an augmentation by a run's folder, a file, or a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from afield.augment import Augmentation, build_chain, read_saved
from afield.errors import InputError
from afield.records import Record, read_record
from afield.runs.execute import AUGMENTOR, RECORD


@dataclass(frozen=True)
class Shown:
    """An augmentation with a name to show, and the record of the run that learned it, if any."""

    name: str
    augmentation: Augmentation
    record: Record | None = None


def find_augmentation(what: str) -> Shown:
    """The augmentation that was learned in a run's folder, that is saved in a file, or that has this name (or chain).

    Raises:
        InputError: a folder without a learned augmentation, an unknown name (the nearest are given), or a bad file.
    """
    path = Path(what)
    if path.is_dir() or (path.suffix == "" and path.parent != Path()):
        if not (path / AUGMENTOR).exists():
            raise InputError(f"{what} holds no learned augmentation; `afield augment learn --out FOLDER` makes one")
        record = read_record(path / RECORD)
        return Shown(record.learned.kind if record.learned else path.name, read_saved(path / AUGMENTOR), record)
    return Shown(path.name, build_chain(what))
