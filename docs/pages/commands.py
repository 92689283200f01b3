"""The command line: every verb with its options, from the classes that the parser reads."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Container, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from afield.commands.groups import documented, grouped
from afield.commands.parse import VERBS

HEAD = """# Command line

This page is made from the definitions that the parser reads; `afield COMMAND --help` prints the same. The functions of
the same names in Python take the same options: `afield compare --seeds 5` and `afield.compare(seeds=5)` do the same.

"""


def commands_page() -> str:
    """All verbs, then the groups of options that several of them have."""
    groups: dict[str, list[str]] = {}
    for verb in VERBS.values():
        for title, text in _groups(verb).items():
            groups.setdefault(title, []).append(text)
    shared = {title: texts[0] for title, texts in groups.items() if len(texts) > 1 and len(set(texts)) == 1}
    verbs = ["\n".join(_verb(name, verb, shared)) for name, verb in VERBS.items()]
    return "\n".join([HEAD, *verbs, *(f"## {title}\n\n{text}" for title, text in shared.items())])


def _verb(name: str, verb: Any, shared: Container[str]) -> Iterator[str]:
    about, groups = documented(verb), _groups(verb)
    yield f"## afield {name}\n"
    yield from (f"{text}\n" for text in (about.short_description, about.long_description) if text)
    yield "```sh\n" + "\n".join(verb.examples) + "\n```\n"
    yield _options(grouped(verb))
    yield from (f"**{title}.** {text}" for title, text in groups.items() if title not in shared)
    if links := [f"[{title.lower()}](#{title.lower().replace(' ', '-')})" for title in groups if title in shared]:
        yield f"Further options: {', '.join(links)}.\n"


def _groups(verb: Any) -> dict[str, str]:
    """The groups of options that a verb inherits: title, and text."""
    hints = get_type_hints(grouped(verb), include_extras=True)
    found = {name: hint for name, hint in hints.items() if getattr(hint, "is_group", False)}
    return {f"{name.capitalize()} options": f"{hint.__doc__}\n\n{_options(hint)}" for name, hint in found.items()}


def _options(kind: Any) -> str:
    """The options of a class, without those of its groups."""
    hints = get_type_hints(kind, include_extras=True)
    own = [field for field in dataclasses.fields(kind) if not getattr(hints[field.name], "is_group", False)]
    return "\n".join(_option(field, hints[field.name]) for field in own) + "\n"


def _option(field: dataclasses.Field[Any], hint: Any) -> str:
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    text = next((note.help for note in notes if getattr(note, "help", None)), "")
    option = field.name.replace("_", "-")
    name = f"--{option}, --no-{option}" if kind is bool else f"--{option}{_values(kind)}"
    if any("POSITIONAL" in str(note) for note in notes):
        name = field.name.upper()
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is dataclasses.MISSING:
        text += " Required."
    elif default not in (None, (), "", False):
        text += f" Default: `{' '.join(map(str, default)) if isinstance(default, tuple) else default}`."
    return f"- `{name}`: {text}"


def _values(kind: Any) -> str:
    """What an option takes, such as `` INT``."""
    if get_origin(kind) is Literal:
        return f" {{{','.join(map(str, get_args(kind)))}}}"
    if get_origin(kind) in (Union, types.UnionType):
        return next(_values(each) for each in get_args(kind) if each is not type(None))
    if get_origin(kind) in (tuple, list):
        return f"{_values(get_args(kind)[0])} ..."
    if get_origin(kind) is Annotated:
        return _values(get_args(kind)[0])
    return f" {getattr(kind, '__name__', str(kind)).upper()}"
