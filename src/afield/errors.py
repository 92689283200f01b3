"""The one exception a user can cause, and how it names what would have been right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NoReturn


class InputError(ValueError):
    """Something given to afield is wrong: the message says what, where, and what is allowed.

    The command line prints the message alone and exits with code 2.
    """


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> NoReturn:
    """Raise an `InputError` that names the nearest valid names of this kind."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"allowed: {_some(names)}"
    raise InputError(f"unknown {kind} {name!r}; {hint}")


def first_line(error: BaseException) -> str:
    """What another library's exception says, in one line; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _some(names: list[str], limit: int = 12) -> str:
    rest = len(names) - limit
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
