"""Conversion between JSON and frozen dataclasses, with type checks.

The check of each type is built once, and the place of a value is put together only for an error: a comparison reads
thousands of records of hundreds of values.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from afield.errors import InputError

NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    Mapping: "an object",
}

Decoder = Callable[[Any], Any]


class _WrongError(Exception):
    """A value of another type: what is wrong with it, and its place, from the innermost name to the outermost."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.place: list[str] = []


def decode(kind: Any, value: Any, where: str) -> Any:
    """Convert a JSON value to a type: a dataclass, tuple, mapping, optional or plain type.

    Args:
        kind: type of the result; ``Any`` accepts every value.
        value: return value of `json.loads`.
        where: name of the value in messages, like ``records.jsonl, line 3:`` or ``records.jsonl, line 3: epochs[0]``.

    Raises:
        InputError: if the value has another type, or a field is missing or unknown.
    """
    try:
        return _decoder(kind)(value)
    except _WrongError as wrong:
        place = "".join(reversed(wrong.place))
        place = f" {place.removeprefix('.')}" if where.endswith(":") and place else place
        raise InputError(f"{where}{place} {wrong.what}") from None


def encode(value: Any) -> Any:
    """Convert dataclasses, mappings and lists of them to what `json.dumps` writes; the inverse of `decode`."""
    if isinstance(value, float | str | int) or value is None:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {key: encode(each) for key, each in value.items()}
    return [encode(each) for each in value] if isinstance(value, list | tuple) else value


@cache
def _decoder(kind: Any) -> Decoder:
    """The function that checks and converts a value to a type. It raises `_WrongError`."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return lambda value: value
    if origin in (Union, types.UnionType):  # only ``X | None``
        inner = _decoder(arguments[0])
        return lambda value: None if value is None else inner(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return _object_decoder(kind)
    if origin is Mapping:
        return _mapping_decoder(_decoder(arguments[1]))
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is Literal:
        return _plain_decoder(lambda value: value in arguments, f"one of {', '.join(arguments)}")
    if origin is bool:
        return _plain_decoder(lambda value: isinstance(value, bool), NAMES[bool])
    accepted = (int, float) if origin is float else origin
    return _plain_decoder(lambda value: isinstance(value, accepted) and not isinstance(value, bool), NAMES[origin])


def _plain_decoder(accepts: Callable[[Any], bool], allowed: str) -> Decoder:
    def decoder(value: Any) -> Any:
        if accepts(value):
            return value
        raise _WrongError(f"must be {allowed}, got {_short(value)}")

    return decoder


def _mapping_decoder(inner: Decoder) -> Decoder:
    def decoder(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _WrongError(f"must be {NAMES[Mapping]}, got {_short(value)}")
        return {key: _inside(inner, each, key) for key, each in value.items()}

    return decoder


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decoder:
    endless = arguments[-1] is ...
    decoders = tuple(_decoder(each) for each in arguments if each is not ...)

    def decoder(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _WrongError(f"must be {NAMES[tuple]}, got {_short(value)}")
        inner = decoders * len(value) if endless else decoders
        if len(inner) != len(value):
            raise _WrongError(f"must be a list of length {len(inner)}, got {_short(value)}")
        return tuple([_inside(inner[i], each, i) for i, each in enumerate(value)])

    return decoder


def _object_decoder(kind: type) -> Decoder:
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    required = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    decoders: dict[str, Decoder] = {}

    def decoder(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _WrongError(f"must be an object, got {_short(value)}")
        if unknown := value.keys() - known:
            raise _WrongError(f"has unknown fields: {', '.join(sorted(unknown))}")
        if missing := [name for name in required if name not in value]:
            raise _WrongError(f"lacks {', '.join(missing)}")
        decoders.update({name: _decoder(hints[name]) for name in value if name not in decoders})
        return kind(**{name: _inside(decoders[name], each, name) for name, each in value.items()})

    return decoder


def _inside(decoder: Decoder, value: Any, name: str | int) -> Any:
    """Decode a value inside another one; an error names it, or gives its index."""
    try:
        return decoder(value)
    except _WrongError as wrong:
        wrong.place.append(f"[{name}]" if isinstance(name, int) else f".{name}")
        raise


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
