"""Data sets of the Hugging Face hub, or saved by the library `datasets`. Only this module imports the library."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afield.data.cache import Reading
from afield.data.examples import Example, load_examples
from afield.data.images import SPLIT_WORDS, ImageSet
from afield.errors import InputError, first_line

PREFIX = "hf:"


def load_hub(data: str, reading: Reading) -> ImageSet:
    """Load ``hf:NAME``, a data set of the hub, or ``hf:FOLDER``, a data set written by ``save_to_disk``.

    The first image column and the first class-label column are used, and the column ``domain`` if there is one. Splits
    named train, validation and test are kept if all splits have such names; otherwise all splits are joined.

    Raises:
        InputError: if the library is not installed, the data set does not exist, or columns are missing.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise InputError(f"--data {data} needs the library datasets: pip install 'afield[hub]'") from None
    name = data.removeprefix(PREFIX)
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
    except Exception as error:  # the library raises errors of several other libraries
        raise InputError(f"--data {data}: {first_line(error)}") from None
    splits: dict[str, Any] = dict(found) if isinstance(found, dict) else {"train": found}
    names = {split: SPLIT_WORDS.get(split.lower(), "") if len(splits) > 1 else "" for split in splits}
    if any(names.values()) and not all(names.values()):
        unknown = [split for split, known in names.items() if not known]
        raise InputError(
            f"--data {data}: split {', '.join(unknown)} is none of {', '.join(SPLIT_WORDS)}, but other splits are"
        )
    features = next(iter(splits.values())).features
    image, label = (_column(data, features, kind) for kind in (datasets.Image, datasets.ClassLabel))

    def read() -> Iterator[Example]:
        for split, part in splits.items():
            for i, row in enumerate(part.cast_column(image, datasets.Image(decode=False))):
                if row[label] is None:
                    raise InputError(f"--data {data}: {split}/{i} has no label")
                yield Example(f"{split}/{i}", _content(row[image]), row[label], _domain(row, features), names[split])

    total = sum(len(part) for part in splits.values())
    key = ["hub", {split: (part._fingerprint, names[split]) for split, part in splits.items()}]
    return load_examples(data, key, read, reading, total=total, class_names=features[label].names)


def _column(data: str, features: Any, kind: type) -> str:
    """The name of the first column of this kind."""
    for name, feature in features.items():
        if isinstance(feature, kind):
            return str(name)
    raise InputError(f"--data {data} has no column of {kind.__name__} features; its columns are {', '.join(features)}")


def _content(image: dict[str, Any] | None) -> bytes | None:
    """The content of an image file; None if it is missing."""
    if image is None or not (image["bytes"] or image["path"]):
        return None
    return image["bytes"] or (Path(image["path"]).read_bytes() if Path(image["path"]).is_file() else None)


def _domain(row: dict[str, Any], features: Any) -> str:
    """The domain as a string; empty if there is none."""
    value = row.get("domain")
    if value is None:
        return ""
    return str(features["domain"].int2str(value) if hasattr(features["domain"], "int2str") else value)
