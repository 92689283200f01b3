"""The command line: parse a command, run it, print its result."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import tyro

from afield import commands
from afield.amounts import duration
from afield.deprecated import current
from afield.errors import InputError

_AUGMENT = "Learn, search or show an augmentation."

Augment = (
    Annotated[commands.AugmentLearn, tyro.conf.subcommand("learn", prefix_name=False)]
    | Annotated[commands.AugmentSearch, tyro.conf.subcommand("search", prefix_name=False)]
    | Annotated[commands.AugmentShow, tyro.conf.subcommand("show", prefix_name=False)]
)

Verb = (
    Annotated[commands.Compare, tyro.conf.subcommand("compare", prefix_name=False)]
    | Annotated[commands.Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[commands.Evaluate, tyro.conf.subcommand("evaluate", prefix_name=False)]
    | Annotated[commands.Predict, tyro.conf.subcommand("predict", prefix_name=False)]
    | Annotated[commands.Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[commands.Label, tyro.conf.subcommand("label", prefix_name=False)]
    | Annotated[Augment, tyro.conf.subcommand("augment", prefix_name=False, description=_AUGMENT)]
    | Annotated[commands.Reproduce, tyro.conf.subcommand("reproduce", prefix_name=False)]
    | Annotated[commands.Report, tyro.conf.subcommand("report", prefix_name=False)]
    | Annotated[commands.List, tyro.conf.subcommand("list", prefix_name=False)]
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Wrong input ends with one line and exit code 2, an interrupt with 130."""
    # Threads of small networks often wait for each other: wait briefly, so that other jobs can use the core.
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    warnings.formatwarning = lambda message, *_: f"afield: warning: {message}\n"
    warnings.filterwarnings("default", message=".* is deprecated; use ", category=DeprecationWarning)
    arguments = [_renamed(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    config = (tyro.conf.OmitSubcommandPrefixes,)
    verb = tyro.cli(Verb, prog="afield", description=_DESCRIPTION, args=arguments, config=config)
    try:
        _show(verb, verb.run())
        _leave_processes()
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG):
            raise
        where = f" {error.filename}" if error.filename else ""
        _fail(f"cannot write{where}: {error.strerror}; finished runs are kept, and the same command continues")
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        sys.exit(130)


_DESCRIPTION = """Image classifiers that hold up far afield:
compare recipes on unseen domains, train the best one, use the model."""


def _renamed(argument: str) -> str:
    """The option of this argument by its current name."""
    option, equals, value = argument.partition("=")
    return f"--{current('option', option[2:])}{equals}{value}" if option.startswith("--") else argument


def _leave_processes() -> None:
    """Close the process group of a data-parallel run; its threads would outlive the interpreter."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _fail(message: str) -> None:
    print(f"afield: {message}", file=sys.stderr)
    sys.exit(2)


def _show(verb: Any, result: Any) -> None:
    from afield import console

    out = console.output()
    match verb:
        case commands.launching.LaunchOptions(dry_run=True):
            out.print(console.plan_text(result), soft_wrap=True)
        case commands.launching.LaunchOptions(share=str()):
            out.print(f"{result['runs']} runs of this share are done; without --share, the command writes the summary")
        case commands.launching.LaunchOptions(launcher="slurm"):
            out.print(f"nothing is submitted yet; {result['script']} says how to submit it", soft_wrap=True)
        case commands.Compare():
            folder = verb.folder("compare")
            out.print(console.comparison_table(result))
            out.print(f"recommended: {result.recommended or 'none'}; {result.reason}", soft_wrap=True)
            out.print(f"report: {folder / 'report.html'}", soft_wrap=True)
        case commands.AugmentLearn():
            for line in console.learned_lines(result):
                out.print(line, soft_wrap=True)
            out.print(f"model in {verb.page.parent}; page: {verb.page}", soft_wrap=True)
        case commands.Train():
            folder = verb.folder("train")
            best = max(epoch.validation["accuracy"] for epoch in result.epochs)
            out.print(f"{verb.recipe}: validation accuracy {100 * best:.1f} %; model in {folder}", soft_wrap=True)
        case commands.AugmentSearch():
            origin = result.origin
            tried = origin["search"]["trials"] * origin["search"]["searches"] * len(origin["folds"])
            out.print(
                f"{len(result.sub_policies)} sub-policies from {origin['trials']} of {tried} trials, "
                f"{origin['seconds']['all']:.0f} s; use it as --augment {verb.file}",
                soft_wrap=True,
            )
        case commands.Reproduce():
            out.print(f"report: {result.page}", soft_wrap=True)
            if result.done < result.runs:
                left, time = result.runs - result.done, duration(result.seconds_left)
                said = f"{left} of {result.runs} runs are left, about {time} of training; the same command continues"
                out.print(said, soft_wrap=True)
                sys.exit(commands.reproduce.UNFINISHED)
        case commands.Label():
            out.print(console.label_text(result, verb.csv), soft_wrap=True)
        case commands.Evaluate(labels=Path()):
            print(json.dumps(result)) if verb.json else out.print(console.audit_table(result))
        case commands.Evaluate():
            print(json.dumps(result)) if verb.json else out.print(console.evaluation_table(result))
        case commands.Predict():
            for prediction in result:
                line = f"{prediction.path}\t{prediction.label}\t{prediction.probability:.4f}"
                print(json.dumps(dataclasses.asdict(prediction)) if verb.json else line)
        case commands.List():
            for kind, entries in result.items():
                out.print(console.entries_table(kind, entries))
        case _:
            print(result)
