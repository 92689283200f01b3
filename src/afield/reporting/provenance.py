"""The provenance of the numbers on a page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from afield.amounts import duration
from afield.records import Record, stored_views


def provenance(records: Sequence[Record]) -> dict[str, str]:
    """Facts about the origin of the numbers, by name. If runs differ, all values are listed."""
    splits = {record.split_hash for record in records}
    folds = {(*record.held_out, record.seed) for record in records}
    return {
        "Runs": str(len(records)),
        "Training time": duration(sum(record.duration_s for record in records)),
        "Splits": f"{len(splits)} different splits, for {len(folds)} pairs of unseen domain and seed",
        **origin(records),
    }


def origin(records: Sequence[Record]) -> dict[str, str]:
    """The commit, hardware and package versions."""
    return {
        "Commit": "; ".join(_distinct(record.commit or "not a source checkout" for record in records)),
        "Hardware": "; ".join(_distinct(listing(record.hardware) for record in records)),
        "Versions": "; ".join(_distinct(listing(record.versions) for record in records)),
    }


def trained_layers(backbone: Mapping[str, Any]) -> str:
    """The layers that were trained, from the settings of the backbone in a record."""
    if not backbone["freeze"] and "partial" not in backbone:
        return "all layers trained"
    trained = "frozen" if backbone["freeze"] else f"trained from {backbone['partial']['stage']} on"
    views = stored_views(backbone)
    return f"{trained}, with {views} stored views of each image" if views > 1 else trained


def differences(mixed: Mapping[str, Sequence[str]]) -> str:
    """A sentence that lists the versions that differ between runs (`Summary.mixed`)."""
    found = "; ".join(f"{name} {' and '.join(versions)}" for name, versions in mixed.items())
    return f"the versions differ between runs: {found}"


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def listing(values: Mapping[str, Any]) -> str:
    """Names with their values, as text; None is omitted."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
