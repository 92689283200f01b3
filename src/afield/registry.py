"""Named things: each is registered beside its definition, and lists are made from the registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from afield.deprecated import current
from afield.errors import unknown_name

T = TypeVar("T")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One named thing.

    `summary` is one line for a table, `reference` the paper or code the thing comes from.
    """

    name: str
    value: T
    summary: str
    reference: str


class Registry(Generic[T]):
    """Entries by name, in the order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, reference: str = "-", **traits: Any) -> Callable[[Value], Value]:
        """A decorator that registers a class or a function; the first line of its docstring is the summary."""

        def add(value: Value) -> Value:
            summary = (inspect.getdoc(value) or "").partition("\n")[0]
            return cast(Value, self.add(name, cast(T, value), summary=summary, reference=reference, **traits))

        return add

    def add(self, name: str, value: T, *, summary: str, reference: str = "-") -> T:
        """Register a value without a docstring of its own and return it. A name that is taken raises `ValueError`."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = Entry(name, value, summary, reference)
        return value

    def __getitem__(self, name: str) -> T:
        return self.entry(name).value

    def entry(self, name: str) -> Entry[T]:
        """The entry of this name; an unknown one raises `InputError` with the nearest names."""
        name = current(self.kind, name)
        if name not in self._entries:
            unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._entries)
