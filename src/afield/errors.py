"""The exception for invalid input, and error messages that suggest valid names."""

import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

_MARGINS = ("margin_rad", "margin_cos", "margin_multiplier")

MEANING = {
    **dict.fromkeys(("margin", "m"), _MARGINS),
    **dict.fromkeys(("m1", "m2", "m3"), ("margin_multiplier", "margin_rad", "margin_cos")),
    **dict.fromkeys(("s", "init_scale"), ("scale",)),
    **dict.fromkeys(("embedding_size", "feat_dim", "feature_dim", "num_features", "in_dim"), ("in_features",)),
    **dict.fromkeys(("out_features", "classes", "n_classes", "num_class", "class_num", "out_dim"), ("num_classes",)),
    **dict.fromkeys(("sub_centers", "num_subcenters", "K", "k"), ("centers",)),
    **dict.fromkeys(("lambda_", "lam", "lmbda", "alpha", "weight_"), ("strength",)),
    **dict.fromkeys(("label_smoothing", "eps", "epsilon"), ("smoothing",)),
    **dict.fromkeys(("T", "t", "tau"), ("temperature",)),
}
"""Names of arguments in other libraries, and the names here that have this meaning."""


class InputError(ValueError):
    """Invalid input. The message states what is wrong, where, and what is allowed.

    The command line prints only the message and exits with code 2.
    """


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> NoReturn:
    """Raise an `InputError` that suggests similar valid names of this kind."""
    raise InputError(f"unknown {kind} {name!r}; {suggestion(name, allowed)}")


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was perhaps meant, or else what is allowed."""
    names = sorted(allowed)
    same = [each for each in MEANING.get(name, ()) if each in names]
    near = same or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"allowed: {shortened(names)}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def shortened(names: Sequence[str], limit: int = 12) -> str:
    """The first names, joined by commas, and the number of the others."""
    rest = len(names) - limit
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
