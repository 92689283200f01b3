"""Definitions of settings with documentation and range, and checks of values. Does not import torch."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, get_args, get_type_hints

from afield.distributions import Distribution
from afield.errors import InputError, unknown_name


@dataclass(frozen=True)
class Setting:
    """The definition of a setting. Option, check and documentation are generated from it.

    Attributes:
        help: description of the setting; empty if it is in the docstring of its class.
        low: smallest allowed number.
        high: largest allowed number.
        values: description of the allowed texts, for a text without fixed choices.
        check_text: raises `InputError` if a text is not allowed.
        kind: type of the value, which can be optional or a `Literal` of the choices.
        search: distribution that a sweep draws from; None if it does not change the setting.
    """

    help: str = ""
    low: float = 0
    high: float = 0
    values: str = ""
    check_text: Callable[[str], object] | None = None
    kind: Any = None
    search: Distribution | None = None

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed texts; empty for numbers and free text."""
        return tuple(choice for choice in get_args(self.kind) if isinstance(choice, str))

    def describe(self) -> str:
        """The description of the setting and of the allowed texts."""
        return f"{self.help.removesuffix('.')}: {self.values}." if self.values else self.help

    def check(self, name: str, value: object) -> None:
        """Raise `InputError` if this value is not allowed. `name` is the name of the setting in the message."""
        if value is None and type(None) in get_args(self.kind):
            return
        if self.choices:
            if value not in self.choices:
                raise InputError(f"{name} must be one of {', '.join(self.choices)}, got {value!r}")
        elif self.high:
            check_number(name, value, self.low, self.high, whole=self.kind is int)
        elif not isinstance(value, self.kind):
            raise InputError(f"{name} must be {self.values or f'a {self.kind.__name__}'}, got {value!r}")
        elif self.check_text:
            self.check_text(value)


def setting(default: Any, help: str = "", **definition: Any) -> Any:
    """Create a dataclass field with a default and a `Setting`. The other arguments define the setting."""
    return dataclasses.field(default=default, metadata={"setting": Setting(help, **definition)})


@functools.cache
def settings_of(config: type) -> dict[str, Setting]:
    """The settings of a dataclass by name. For fields without a `setting`, only the type is defined."""
    hints = get_type_hints(config)
    return {
        field.name: dataclasses.replace(field.metadata.get("setting", Setting()), kind=hints[field.name])
        for field in dataclasses.fields(config)
    }


class Checked:
    """Base class of dataclasses of settings. A value outside its range, choices or type raises `InputError`."""

    def __post_init__(self) -> None:
        for name, definition in settings_of(type(self)).items():  # type: ignore[arg-type]
            definition.check(name, getattr(self, name))


def read_settings(config: type, options: Mapping[str, Any], where: str) -> Any:
    """Create a dataclass of settings from a mapping, and nested dataclasses from nested mappings.

    Raises:
        InputError: if a field is unknown (the message suggests similar names) or a value is not allowed.
    """
    values, known = dict(options), settings_of(config)
    for name, value in options.items():
        if name not in known:
            unknown_name(f"setting of {where}:", name, known)
        if dataclasses.is_dataclass(known[name].kind):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}: {name} must be a table of settings, got {value!r}")
            values[name] = read_settings(known[name].kind, value, f"{where}.{name}")
    try:
        return config(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def check_number(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Raise `InputError` if the value is not a number (or integer, with `whole`) from low to high."""
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # type: ignore[operator]
        kind = "be a whole number" if whole else "lie"
        raise InputError(f"{name} must {kind} between {low:g} and {high:g}, got {value!r}")


def check_within(interval: str, **values: object) -> None:
    """Raise `InputError` if a value is not a number in the interval: ``check_within("[0, 1)", share=share)``."""
    low, high = map(float, interval[1:-1].split(","))
    for name, value in values.items():
        number = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high
        if not number or (interval[0] == "(" and value == low) or (interval[-1] == ")" and value == high):
            allowed = f"lie in {interval}"
            if high == math.inf:
                allowed = f"be {'above' if interval[0] == '(' else 'at least'} {low:g}"
            raise InputError(f"{name} must {allowed}, got {value!r}")
