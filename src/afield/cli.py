"""The command line interface: parses a command, runs it, and prints its result."""

import dataclasses
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afield import commands
from afield.amounts import duration
from afield.commands.parse import parse
from afield.errors import InputError
from afield.launch.allocator import keep_freed_memory
from afield.names import shown


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Invalid input prints one line and gives exit code 2; an interrupt, SIGTERM or SIGHUP gives 130."""
    # In small networks, threads often wait for each other. A short spin time leaves the core to other jobs.
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    keep_freed_memory()
    warnings.formatwarning = lambda message, *_: f"afield: warning: {message}\n"
    warnings.filterwarnings("default", message=".* is deprecated; use ", category=DeprecationWarning)
    try:
        with _ended_as_interrupted():
            verb = parse(sys.argv[1:] if arguments is None else arguments)
            _show(verb, verb.run())
            sys.stdout.flush()
            _leave_processes()
    except BrokenPipeError:  # the reader of the output has read enough, as in `afield list recipes | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        where = f" {os.fsdecode(error.filename)}" if error.filename else ""
        what = f"cannot read or write{where}: {error.strerror or error}"
        _fail(f"{what}; finished runs are kept, and the same command continues")
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `KeyboardInterrupt` during a ``with`` block, unless ignored, as by nohup."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    default = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in default:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)


def _leave_processes() -> None:
    """Destroy the process group of a data-parallel run, whose threads would otherwise outlive the interpreter."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _fail(message: str) -> None:
    print(f"afield: {shown(' '.join(message.splitlines()))}", file=sys.stderr)
    sys.exit(2)


def _show(verb: Any, result: Any) -> None:
    from afield import console, printing
    from afield.reporting.provenance import differences

    out, say = console.output(), console.say
    match verb:
        case commands.launching.LaunchOptions(dry_run=True):
            say(printing.plan_text(result))
        case commands.launching.LaunchOptions(share=str()):
            out.print(f"{result['runs']} runs of this share are done; run without --share to write the summary")
        case commands.launching.LaunchOptions(launcher="slurm"):
            say(f"not submitted; {result['script']} contains the commands to submit it")
        case commands.Compare(label_budget=int()):
            out.print(printing.labeling_table(result))
            say(f"recommended: {result.recommended or 'none'}; {result.reason}")
            say(f"report: {verb.run_folder / 'report.html'}")
        case commands.Compare():
            out.print(printing.comparison_table(result))
            if result.mixed:
                say(f"warning: {differences(result.mixed)}")
            if result.hint:
                say(f"warning: {result.hint}")
            say(f"recommended: {result.recommended or 'none'}; {result.reason}")
            say(f"report: {verb.run_folder / 'report.html'}")
        case commands.Sweep():
            out.print(printing.sweep_table(result))
            say("\n".join(printing.sweep_lines(result)))
            say(f"report: {verb.run_folder / 'report.html'}")
        case commands.AugmentLearn():
            say("\n".join(printing.learned_lines(result)))
            say(f"model in {verb.page.parent}; page: {verb.page}")
        case commands.Train():
            say("\n".join(printing.trained_lines(result, verb.metric, verb.folder("train"))))
        case commands.AugmentSearch():
            origin = result.origin
            tried = origin["search"]["trials"] * origin["search"]["searches"] * len(origin["folds"])
            cost = f"{origin['trials']} of {tried} trials, {origin['seconds']['all']:.0f} s"
            say(f"{len(result.sub_policies)} sub-policies from {cost}; to use them: --augment {verb.file}")
        case commands.Reproduce():
            say(f"report: {result.page}")
            if result.done < result.runs:
                left, time = result.runs - result.done, duration(result.seconds_left)
                say(f"{left} of {result.runs} runs are left, about {time} of training; the same command continues")
                sys.exit(commands.reproduce.UNFINISHED)
        case commands.Label():
            say(printing.label_text(result, verb.csv))
        case commands.Evaluate(labels=Path()):
            print(json.dumps(result)) if verb.json else out.print(printing.audit_table(result))
        case commands.Evaluate():
            if seen := result["trained_on"]:
                what = "trained this model or selected its epoch; the results do not apply to new images"
                print(f"afield: warning: {seen:,} of {result['all']['n']:,} images {what}", file=sys.stderr)
            if verb.json:
                print(json.dumps(result))
            else:
                for table in printing.evaluation_tables(result):
                    out.print(table)
        case commands.Predict(out=Path()):
            say("\n".join(printing.written_lines(result)))
        case commands.Predict():
            for prediction in result:
                line = f"{shown(prediction.path or '')}\t{prediction.label}\t{prediction.probability:.4f}"
                print(json.dumps(dataclasses.asdict(prediction)) if verb.json else line)
        case commands.Serve():
            pass
        case commands.Export():
            say("\n".join(printing.exported_lines(result)))
        case commands.Adapt():
            for line in (*printing.adapted_lines(result), f"model in {verb.out}"):
                say(line)
        case commands.Forecast():
            from afield.deploy.forecast import sentences

            if verb.json:
                print(json.dumps(printing.expected_json(result)))
            else:
                for line in sentences(result):
                    say(line)
                if verb.out:
                    say(f"page: {verb.out / 'report.html'}")
        case commands.Table():
            print(result, end="")
        case commands.List():
            for kind, entries in result.items():
                out.print(printing.entries_table(kind, entries))
        case _:
            say(str(result))
