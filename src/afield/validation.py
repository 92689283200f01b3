"""Ranges of settings, checked in one place."""

from __future__ import annotations

from collections.abc import Container, Iterable

from afield.errors import InputError


def check_ranges(settings: object, ranges: Iterable[tuple[str, float, float]], optional: Container[str] = ()) -> None:
    """Each named attribute is a number within its range, both ends included; an optional one may be None.

    Raises:
        InputError: one is not.
    """
    for name, low, high in ranges:
        value = getattr(settings, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and low <= value <= high) and not (value is None and name in optional):
            raise InputError(f"{name} must lie between {low:g} and {high:g}, got {value!r}")
