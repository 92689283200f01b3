"""Records as a pandas table. Does not import torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from afield.errors import InputError
from afield.records.reading import read_records

if TYPE_CHECKING:
    import pandas

COLUMNS = ("run", "recipe", "seed", "unseen", "compared", "epoch", "selection", "duration_s", "commit")


def frame(folder: str | Path) -> "pandas.DataFrame":
    """Read the records of a comparison as a table with a row for each run and unseen part.

    The columns are `COLUMNS` (``run`` is the hash of the settings; ``unseen`` is the held-out part; ``compared`` says
    whether the run belongs to the last comparison of the folder; ``epoch`` is the selected epoch, from 1, and
    ``selection`` its rule), ``images``, the number of images of the part, and then ``test_NAME`` and
    ``validation_NAME`` for each metric. Metrics are fractions. They are those of the selected epoch, or of the last
    epoch if none is selected.

    Args:
        folder: run folder, or a ``records.jsonl``.

    Raises:
        InputError: if pandas is missing, or the records are missing or damaged.

    Example:
        >>> found = frame("runs/compare-digits")  # doctest: +SKIP
        >>> found.pivot_table("test_accuracy", "recipe", "unseen")  # doctest: +SKIP
    """
    try:
        import pandas
    except ImportError:
        raise InputError("a table of records needs pandas: pip install pandas") from None
    rows = []
    for record in read_records(folder):
        selected = None if record.selection is None else record.selection.epoch
        epoch = record.epochs[-1 if selected is None or selected > len(record.epochs) else selected - 1]
        for part in record.held_out:
            test = (record.test or epoch.test)[part]
            rows.append(
                {
                    "run": record.run,
                    "recipe": record.recipe,
                    "seed": record.seed,
                    "unseen": part,
                    "compared": record.compared,
                    "epoch": selected,
                    "selection": None if record.selection is None else record.selection.rule,
                    "duration_s": record.duration_s,
                    "commit": record.commit,
                    "images": record.images[f"test/{part}"],
                    **{f"test_{name}": value for name, value in test.items()},
                    **{f"validation_{name}": value for name, value in epoch.validation.items()},
                }
            )
    return pandas.DataFrame(rows)
