"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from afield.errors import InputError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_bytes(option: str, text: str) -> int:
    """``"2GiB"``, ``"1.5 GB"`` or ``"800M"`` in bytes.

    Raises:
        InputError: anything else; it names the option.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?|)B?", text.strip())
    if match is None:
        raise InputError(f"{option} takes an amount such as 2GiB, 1.5GB or 800M, got {text!r}")
    return int(float(match[1]) * UNITS[match[2]])
