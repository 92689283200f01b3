"""Names of runs and seeds of random numbers."""

import hashlib
from collections.abc import Mapping
from typing import Any

from afield.records.files import canonical_json
from afield.records.types import SCHEMA


def run_hash(config: Mapping[str, Any]) -> str:
    """The name of a run: 16 hexadecimal digits of the SHA-256 of its configuration."""
    return hashlib.sha256(canonical_json([SCHEMA, config]).encode()).hexdigest()[:16]


def seed_for(*names: str | int) -> int:
    """A 63-bit seed computed from names, so that every random choice has a separate generator.

    >>> seed_for("order", 0, 1) == seed_for("order", 0, 1) != seed_for("order", 0, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(canonical_json(list(names)).encode()).digest()[:8]) >> 1
