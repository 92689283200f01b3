"""Settings that carry their documentation and range, and the checks of values. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from afield.errors import InputError


@dataclass(frozen=True)
class Setting:
    """The definition of one setting: option, check and row of the documentation are made from it.

    Attributes:
        help: what the setting does.
        low: smallest number allowed.
        high: largest number allowed.
        values: description of the allowed text, if the setting is a text with no fixed choices.
        check_text: raises `InputError` for a text that is not allowed.
        kind: type of the value; the choices, if it is a `Literal`.
    """

    help: str
    low: float = 0
    high: float = 0
    values: str = ""
    check_text: Callable[[str], object] | None = None
    kind: Any = None

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed texts; empty for numbers and free text."""
        return get_args(self.kind)

    def describe(self) -> str:
        """What the setting does, and what text it takes."""
        return f"{self.help.removesuffix('.')}: {self.values}." if self.values else self.help

    def check(self, name: str, value: object) -> None:
        """Raise `InputError` unless the setting called `name` can have this value."""
        if self.choices:
            if value not in self.choices:
                raise InputError(f"{name} must be one of {', '.join(self.choices)}, got {value!r}")
        elif self.kind is not str:
            check_number(name, value, self.low, self.high, whole=self.kind is int)
        elif not isinstance(value, str):
            raise InputError(f"{name} must be {self.values}, got {value!r}")
        elif self.check_text:
            self.check_text(value)


def setting(default: Any, help: str, **definition: Any) -> Any:
    """A dataclass field with this default and a `Setting` of the other arguments."""
    return dataclasses.field(default=default, metadata={"setting": Setting(help, **definition)})


@functools.cache
def settings_of(config: type) -> dict[str, Setting]:
    """The settings of a dataclass by name."""
    hints = get_type_hints(config)
    return {
        field.name: dataclasses.replace(field.metadata["setting"], kind=hints[field.name])
        for field in dataclasses.fields(config)
    }


def check_number(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Raise `InputError` unless the value is a number, or a whole number, from low to high."""
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # type: ignore[operator]
        kind = "be a whole number" if whole else "lie"
        raise InputError(f"{name} must {kind} between {low:g} and {high:g}, got {value!r}")


def check_ranges(settings: object, ranges: Iterable[tuple[str, float, float]], optional: Container[str] = ()) -> None:
    """Each named attribute is a number within its range, both ends included; an optional one may be None.

    Raises:
        InputError: one is not.
    """
    for name, low, high in ranges:
        value = getattr(settings, name)
        if not (value is None and name in optional):
            check_number(name, value, low, high)
