"""Registries of named objects, which are registered next to their definition. Lists are generated from registries."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from afield.deprecated import current
from afield.errors import InputError, first_line, unknown_name
from afield.plugins import Plugin, plugins

T = TypeVar("T")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """An entry of a registry.

    `summary` is one line for a table; `reference` is the source, a paper or code; `package` is the installed package
    that provides it, empty for afield.
    """

    name: str
    value: T
    summary: str
    reference: str
    package: str = ""


class Registry(Generic[T]):
    """Entries by name, in the order of registration.

    Installed packages can provide further entries in an entry-point group. They are imported when they are asked for by
    name; iteration and `names` contain those that are imported.

    Args:
        kind: what an entry is, in messages.
        group: entry-point group; empty if packages cannot provide entries.
    """

    def __init__(self, kind: str, *, group: str = "") -> None:
        self.kind = kind
        self.group = group
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
        """The entry with this name, imported from its package if necessary.

        Raises:
            InputError: if the name is unknown (the message suggests similar names), or its package is broken.
        """
        name = current(self.kind, name)
        if name not in self._entries:
            if name not in self.plugins():
                unknown_name(self.kind, name, self.known)
            self._import(self.plugins()[name])
        return self._entries[name]

    def plugins(self) -> Mapping[str, Plugin]:
        """The entries of installed packages by name."""
        return plugins(self.group)

    def adopt(self, plugin: Plugin) -> None:
        """Register what a package provides, unless its module registers it itself.

        Raises:
            TypeError: if it is not a class or function.
        """
        value = plugin.load()
        if plugin.name not in self._entries:
            if not callable(value):
                raise TypeError(f"{value!r} is neither a class nor a function")
            self.register(plugin.name)(value)

    def complete(self) -> list[Entry[Any]]:
        """All entries, also those of installed packages. The summary of a broken one says what is wrong with it.

        A warning is issued for an entry of a package whose name another entry has.
        """
        broken = []
        for plugin in self.plugins().values():
            try:
                entry = self.entry(plugin.name)
            except InputError as error:
                broken.append(Entry[Any](plugin.name, None, str(error), "-", plugin.package))
                continue
            if not entry.package and getattr(entry.value, "__module__", "") == plugin.module:
                self._attribute(plugin)  # its module was imported in another way
            elif entry.package != plugin.package:
                what = f"{self.kind} {plugin.name!r} of the package {plugin.package}"
                warnings.warn(f"{what} is not used, because {entry.package or 'afield'} has the name", stacklevel=2)
        return [*self, *broken]

    def _import(self, plugin: Plugin) -> None:
        try:
            self.adopt(plugin)
        except Exception as error:  # a package can fail in any way
            what = f"{self.kind} {plugin.name!r} of the package {plugin.package} cannot be loaded"
            raise InputError(f"{what}: {type(error).__name__}: {first_line(error)}") from error
        self._attribute(plugin)

    def _attribute(self, plugin: Plugin) -> None:
        self._entries[plugin.name] = dataclasses.replace(self._entries[plugin.name], package=plugin.package)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self.plugins()

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the registered entries, in their order."""
        return tuple(self._entries)

    @property
    def known(self) -> tuple[str, ...]:
        """All names, also those of entries that installed packages provide."""
        return tuple(dict.fromkeys((*self._entries, *self.plugins())))
