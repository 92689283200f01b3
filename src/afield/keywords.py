"""Wrong names of keyword arguments: an error that suggests the right name."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self

from afield.errors import suggestion


def check_keywords(what: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise `TypeError`, as Python does, if a keyword is not allowed. The message suggests the right name."""
    names = list(allowed)
    for name in given:
        if name not in names:
            raise TypeError(f"{what} has no argument {name!r}; {suggestion(name, names)}")


def keywords_of(function: Callable[..., object]) -> list[str]:
    """The names of the keyword-only arguments of a function or class."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


class CheckedKeywords:
    """Base class of modules whose constructor suggests the right name for a wrong keyword."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Check the names of the keywords, unless the constructor takes any."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            check_keywords(cls.__name__, keywords, [parameter.name for parameter in parameters])
        return super().__new__(cls)
