"""Registries of named objects, which are registered next to their definition. Lists are generated from registries."""

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
    """An entry of a registry.

    `summary` is one line for a table; `reference` is the source, a paper or code.
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
        """Return a decorator that registers a class or function. The first line of its docstring is the summary."""

        def add(value: Value) -> Value:
            summary = (inspect.getdoc(value) or "").partition("\n")[0]
            return cast(Value, self.add(name, cast(T, value), summary=summary, reference=reference, **traits))

        return add

    def add(self, name: str, value: T, *, summary: str, reference: str = "-") -> T:
        """Register a value that has no docstring, and return it. Raises `ValueError` if the name is already used."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = Entry(name, value, summary, reference)
        return value

    def __getitem__(self, name: str) -> T:
        return self.entry(name).value

    def entry(self, name: str) -> Entry[T]:
        """The entry with this name. Raises an `InputError` with similar names if it is unknown."""
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
