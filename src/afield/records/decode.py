"""Decoding of JSON into frozen dataclasses, with type checks."""

import types
from collections.abc import Mapping
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


def decode(kind: Any, value: Any, where: str) -> Any:
    """Convert a JSON value to a type: a dataclass, tuple, mapping, optional or plain type.

    Args:
        kind: type of the result; ``Any`` accepts every value.
        value: return value of `json.loads`.
        where: name of the value in messages, like ``records.jsonl, line 3:`` or ``records.jsonl, line 3: epochs[0]``.

    Raises:
        InputError: if the value has another type, or a field is missing or unknown.
    """
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return value
    if origin in (Union, types.UnionType):  # only ``X | None``
        return None if value is None else decode(arguments[0], value, where)
    if origin is Literal and value in arguments:
        return value
    if is_dataclass(kind):
        return _object(kind, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: decode(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(inner) != len(value):
            raise InputError(f"{where} must be a list of length {len(inner)}, got {_short(value)}")
        return tuple(decode(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(inner, value, strict=True)))
    if origin is bool and isinstance(value, bool):
        return value
    accepted = (int, float) if origin is float else origin
    if origin in (str, int, float) and isinstance(value, accepted) and not isinstance(value, bool):
        return value
    allowed = f"one of {', '.join(arguments)}" if origin is Literal else NAMES[origin]
    raise InputError(f"{where} must be {allowed}, got {_short(value)}")


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be an object, got {_short(value)}")
    hints, known = _hints(kind), {field.name: field for field in fields(kind)}
    if unknown := value.keys() - known:
        raise InputError(f"{where} has unknown fields: {', '.join(sorted(unknown))}")
    required = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in value]:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    before = f"{where} " if where.endswith(":") else f"{where}."
    return kind(**{name: decode(hints[name], each, before + name) for name, each in value.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
