"""The exception for invalid input, and error messages that suggest valid names."""

import difflib
from collections.abc import Iterable
from typing import NoReturn


class InputError(ValueError):
    """Invalid input. The message states what is wrong, where, and what is allowed.

    The command line prints only the message and exits with code 2.
    """


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> NoReturn:
    """Raise an `InputError` that suggests similar valid names of this kind."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"allowed: {_shortened(names)}"
    raise InputError(f"unknown {kind} {name!r}; {hint}")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _shortened(names: list[str], limit: int = 12) -> str:
    rest = len(names) - limit
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
