"""Parsing and formatting of memory sizes and durations. Does not import torch."""

import math
import re

from afield.errors import InputError

BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_bytes(option: str, text: str) -> int:
    """Convert ``"2GiB"``, ``"1.5 GB"`` or ``"800M"`` to bytes.

    Raises:
        InputError: if the text has another form. The message contains the name of the option.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?|)B?", text.strip())
    if match is None:
        raise InputError(f"{option} must be an amount of memory such as 2GiB, 1.5GB or 800M, got {text!r}")
    return int(float(match[1]) * BYTES[match[2]])


def parse_seconds(option: str, text: str | None) -> float:
    """Convert ``"90s"``, ``"9m"`` or ``"2h"`` to seconds, and None to infinity.

    Raises:
        InputError: if the text has another form. The message contains the name of the option.
    """
    if text is None:
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smh])", text.strip())
    if match is None:
        raise InputError(f"{option} must be a duration such as 90s, 9m or 2h, got {text!r}")
    return float(match[1]) * SECONDS[match[2]]


def duration(seconds: float) -> str:
    """Format a duration in hours and minutes, minutes and seconds, or seconds.

    >>> duration(0.34), duration(75), duration(7500)
    ('0.3 s', '1 min 15 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
