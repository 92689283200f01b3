"""Options of a verb in groups, for its help."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Annotated, Any, get_type_hints

import docstring_parser
import tyro


def grouped(verb: type) -> type:
    """A dataclass with the own options of a verb, and a field for the options of each class that it inherits from.

    The help then has a group for each of these classes. Descriptions are those under ``Attributes:`` in docstrings.
    """
    hints = get_type_hints(verb, include_extras=True)
    described = {each.arg_name: each.description for kind in reversed(verb.__mro__) for each in documented(kind).params}
    fields: dict[str, Any] = {field.name: field for field in dataclasses.fields(verb)}
    bases: list[Any] = [base for base in verb.__bases__ if dataclasses.is_dataclass(base)]
    inherited = [field.name for base in bases for field in dataclasses.fields(base)]
    own, groups = list[Any](), dict[type, list[Any]]()
    for name in dict.fromkeys([*inherited, *fields]):
        owner = next(kind for kind in verb.__mro__ if name in inspect.get_annotations(kind))
        positional = tyro.conf.Positional in getattr(hints[name], "__metadata__", ())
        at_top = owner is verb or positional or _required(fields[name])
        members = own if at_top else groups.setdefault(owner, [])
        members.append(_option(fields[name], hints[name], described.get(name)))
    return dataclasses.make_dataclass(
        verb.__name__, [*own, *map(_group, groups, groups.values())], namespace={"__doc__": _text(verb)}
    )


def ungrouped(verb: type, options: Any) -> Any:
    """The verb with the options of an object of its `grouped` class."""
    groups = [value for value in vars(options).values() if getattr(value, "is_group", False)]
    values = {name: value for part in (options, *groups) for name, value in vars(part).items()}
    return verb(**{field.name: values[field.name] for field in dataclasses.fields(verb)})


def documented(kind: type) -> docstring_parser.Docstring:
    """The parts of the docstring of a class."""
    return docstring_parser.parse(kind.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)


def _required(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _option(field: Any, hint: Any, description: str | None) -> tuple[str, Any, Any]:
    """A field with its description. A default that says nothing, such as None, is not shown."""
    if description is not None:
        text, empty = " ".join(description.split()), not _required(field) and field.default in (None, ())
        default = ("" if "by default" in text else "(optional)") if empty else None
        hint = Annotated[hint, tyro.conf.arg(help=text, help_behavior_hint=default)]
    about = {name: getattr(field, name) for name in ("default", "default_factory", "kw_only")}
    return field.name, hint, dataclasses.field(**about)


def _group(kind: type, members: list[Any]) -> tuple[str, type, Any]:
    """The field of a group of options, named by the class that defines them."""
    document = {"__doc__": documented(kind).short_description, "is_group": True}
    group = dataclasses.make_dataclass(kind.__name__, members, namespace=document)
    title = re.sub("(Options|Settings)$", "", kind.__name__).lower()
    return title, group, dataclasses.field(default_factory=group, kw_only=True)


def _text(verb: Any) -> str:
    """The description of a verb, with its examples."""
    about, examples = documented(verb), "\n".join(f"  {line}" for line in verb.examples)
    return "\n\n".join(filter(None, (about.short_description, about.long_description, f"examples:\n{examples}")))
