"""Find an augmentation by the folder of a run, a file, or a name."""

from dataclasses import dataclass
from pathlib import Path

from afield.augment import Augmentation, build_chain, read_saved
from afield.errors import InputError
from afield.records import Record, read_record
from afield.runs.execute import AUGMENTOR, RECORD


@dataclass(frozen=True)
class Shown:
    """An augmentation with a name to display, and the record of the run that learned it, if there is one."""

    name: str
    augmentation: Augmentation
    record: Record | None = None


def find_augmentation(what: str) -> Shown:
    """Find an augmentation by the folder of the run that learned it, by a file, or by a name or chain of names.

    Raises:
        InputError: if the folder has no learned augmentation, the name is unknown (the message suggests similar names),
            or the file is damaged.
    """
    path = Path(what)
    if path.is_dir() or (path.suffix == "" and path.parent != Path()):
        if not (path / AUGMENTOR).exists():
            raise InputError(f"{what} contains no learned augmentation; `afield augment learn --out FOLDER` trains one")
        record = read_record(path / RECORD)
        return Shown(record.learned.kind if record.learned else path.name, read_saved(path / AUGMENTOR), record)
    return Shown(path.name, build_chain(what))
