"""Parsing of command lines: from words to a verb with its options; help in groups, and errors of one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import tyro

from afield import commands
from afield.commands.groups import documented, grouped, ungrouped
from afield.deprecated import current
from afield.errors import InputError, unknown_name

DESCRIPTION = """Image classifiers that hold up far afield:
compare recipes on unseen domains, train the best one, use the model."""

VERBS: Mapping[str, type] = {
    "compare": commands.Compare,
    "sweep": commands.Sweep,
    "train": commands.Train,
    "evaluate": commands.Evaluate,
    "predict": commands.Predict,
    "ensemble": commands.Ensemble,
    "export": commands.Export,
    "serve": commands.Serve,
    "card": commands.Card,
    "push": commands.Push,
    "adapt": commands.Adapt,
    "forecast": commands.Forecast,
    "label": commands.Label,
    "augment learn": commands.AugmentLearn,
    "augment search": commands.AugmentSearch,
    "augment show": commands.AugmentShow,
    "reproduce": commands.Reproduce,
    "report": commands.Report,
    "table": commands.Table,
    "list": commands.List,
}

KINDS = {"INT": "a whole number", "FLOAT": "a number"}
CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)


def parse(words: Sequence[str]) -> Any:
    """The verb with its options for the words of a command line. Help and version are printed and end the process.

    Raises:
        InputError: if the verb or an option is unknown, a word is missing, or a value is not allowed.
    """
    words = [_renamed(word) for word in words]
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
        raise InputError("an argument is empty; check that the variables of the shell are set")
    name = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    if name is not None:
        return _options(name, words[len(name.split()) :])
    if words[:1] == ["--version"]:
        print(f"afield {version('afield')}")
        sys.exit()
    inside = [verb for verb in VERBS if words and verb.split()[0] == words[0]]
    if inside and len(words) > 1 and words[1] not in ("-h", "--help"):
        unknown_name(f"command: afield {words[0]}", words[1], [verb.split()[1] for verb in inside])
    if words and not inside and words[0] not in ("-h", "--help"):
        unknown_name("command", words[0], dict.fromkeys(verb.split()[0] for verb in VERBS))
    print(overview(inside or VERBS))
    sys.exit(0 if "-h" in words or "--help" in words else 2)


def overview(verbs: Sequence[str] | Mapping[str, type]) -> str:
    """The help of afield itself: its verbs with the first sentence of each."""
    width = max(map(len, verbs))
    lines = [f"  {name:{width}}  {documented(VERBS[name]).short_description}" for name in verbs]
    return "\n".join([
        "usage: afield COMMAND [OPTIONS]\n",
        f"{DESCRIPTION}\n",
        *lines,
        "\nafield COMMAND --help describes a command; afield --version prints the version.",
    ])  # fmt: skip


def _options(name: str, words: Sequence[str]) -> Any:
    verb = VERBS[name]
    known = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(verb)} | {"--help"}
    known |= {f"--no-{option[2:]}" for option in known}
    given = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for position, option in enumerate(given):
        if option not in known and not option.startswith("--tyro-"):
            unknown_name(f"option of afield {name}:", option, {each for each in known if not each.startswith("--no-")})
        if option in given[:position]:
            raise InputError(f"{option} is given twice; give it once, with all its values")
        opposite = f"--{option[5:]}" if option.startswith("--no-") else f"--no-{option[2:]}"
        if opposite in given[:position]:
            raise InputError(f"{opposite} and {option} contradict each other; give one of them")
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            found: Any = tyro.cli(grouped(verb), prog=f"afield {name}", args=list(words), config=CONFIG)
    except SystemExit as end:
        if not end.code:
            raise
        raise InputError(f"{_shortened(heard.getvalue())}; `afield {name} --help` describes all options") from None
    return ungrouped(verb, found)


def _renamed(word: str) -> str:
    """Replace a deprecated option name in a word."""
    option, equals, value = word.partition("=")
    return f"--{current('option', option[2:])}{equals}{value}" if option.startswith("--") else word


def _shortened(box: str) -> str:
    """The message of an error in a box of several lines, as one line."""
    lines = [line.strip("│|╭╮╰╯+ ") for line in box.splitlines()[1:]]
    lines = lines[1:] if re.fullmatch("[─-]+", lines[0]) else lines
    rule = next((i for i, line in enumerate(lines) if re.fullmatch("[─-]+", line)), len(lines))
    text = " ".join(line for line in lines[:rule] if line)
    if found := re.match(r"Error parsing (\S+): .*?matching (\S+) could .*?from \['?(.*?)'?\]", text):
        option, kind, value = found.groups()
        return f"{option} must be {KINDS.get(kind, kind)}, got {value!r}"
    if found := re.match(r"Error parsing (\S+): (invalid literal for int|could not convert).*: '(.*)'", text):
        option, what, value = found.groups()
        return f"{option} must be {KINDS['INT' if 'int' in what else 'FLOAT']}, got {value!r}"
    if found := re.match(r"[Ii]nvalid choice '(.*)' for argument '(.*)'\. Expected one of (.*)", text):
        value, option, choices = found.groups()
        allowed = sorted({*re.findall("'([^']*)'", choices)} - {"None"})
        return f"{option} must be one of {', '.join(allowed)}, got {value!r}"
    if found := re.match(r"[Mm]issing value for argument '(.*)'\.", text):
        return f"{found[1]} needs a value"
    return text[:1].lower() + text[1:].removesuffix(" (required)").rstrip(".")
