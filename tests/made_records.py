"""Records of runs that nobody ran."""

from __future__ import annotations

import dataclasses
from typing import Any

from afield.records import Record

PLAIN = Record(
    run="0123456789abcdef",
    recipe="erm",
    seed=0,
    held_out=("photo",),
    config={},
    split_hash="fedcba9876543210",
    images={"train": 60, "validation": 6},
    epochs=(),
    duration_s=1.0,
    versions={"python": "3.11.7", "afield": None},
    hardware={"cpu": "A & B", "gpu": None},
    commit="0123456789ab",
)


def made_record(**fields: Any) -> Record:
    """A record with these fields."""
    return dataclasses.replace(PLAIN, **fields)
