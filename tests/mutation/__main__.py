"""Changes single lines of the package at random and counts the changes that no test notices.

`python -m tests.mutation --out results/mutation/first.json` tries 200 changes; `--again` tries those of the record that
survived once more. Changes with no effect that a test could see are listed with the reason in
results/mutation/equivalent.json and are not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections import Counter
from functools import cache, partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.trial import ROOT, STOPPED, Reach, fails, fails_when_imported, forked, reach, with_tests

MODULES = {
    "losses": "losses/*.py",
    "heads": "heads/*.py",
    "objective": "objective.py",
    "evaluation": "evaluation/*.py",
    "data.splits": "data/splits/*.py",
    "training.batches": "training/batches.py",
    "algorithms": "algorithms/**/*.py",
    "augment": "augment/**/*.py",
}
OF_DEFINITIONS = ("tests/test_constants.py", "tests/test_defaults.py", "tests/test_common.py")
"""The tests of what runs at import, such as defaults and entries of registries."""
APART = (
    *(
        "benchmarks/*",
        "commands/*",
        "comparison/*",
        "deploy/*",
        "fuzz/*",
        "launch/*",
        "models/*",
        "mutation/*",
        "reporting/*",
        "runs/*",
    ),
    *("labeling/test_browser", "labeling/test_page", "labeling/test_session", "reproduction/*", "search/*"),
    *("training/test_out_of_core", "training/test_processes", "test_architecture", "test_docs"),
    *("test_examples", "test_integrations", "test_prefetch", "test_records", "test_wheel"),
)
"""Test files that are not tried: those of whole commands, which take long, and those of other trades."""
IN_PROCESSES = {"src/afield/heads/sharded.py": "tests/heads/test_sharded.py"}
"""Files with tests in processes of their own, where lines are not measured; these are tried if all others pass."""
ENOUGH = 6.0
"""Seconds of CPU time of all tests that are tried on one change."""
EQUIVALENT = ROOT / "results" / "mutation" / "equivalent.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="number of changes, drawn at random from all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--out", type=Path, required=True, help="record; a run that was stopped goes on from it")
    parser.add_argument("--again", action="store_true", help="try the changes of the record that survived once more")
    parser.add_argument("--reach", type=Path, default=ROOT / ".mutation.json", help="which test runs which line")
    options = parser.parse_args()

    module_of = {
        str(path.relative_to(ROOT)): module
        for module, pattern in MODULES.items()
        for path in sorted((ROOT / "src" / "afield").glob(pattern))
        if path.name != "__init__.py"
    }
    apart = {path for name in APART for path in (ROOT / "tests").glob(f"{name}.py")}
    files = [str(path.relative_to(ROOT)) for path in sorted({*(ROOT / "tests").rglob("test_*.py")} - apart)]
    drawn = _draw(list(module_of), options.seed, options.count)

    def work(items: dict[str, Any]) -> None:
        tests = _reach(items, list(module_of), options.reach)
        record = json.loads(options.out.read_text()) if options.out.exists() else {"outcomes": {}}
        outcomes = record["outcomes"]
        for number, mutant in enumerate(drawn, 1):
            known = outcomes.get(mutant.name)
            if known is None or (known == "survived" and options.again):
                outcomes[mutant.name] = _outcome(mutant, tests, items)
                if outcomes[mutant.name] == "survived":
                    print(f"{number}/{len(drawn)} {mutant.name}", file=sys.stderr, flush=True)
                _write(options, drawn, outcomes, module_of)
        print(json.dumps(_write(options, drawn, outcomes, module_of), indent=1), file=sys.stderr)

    with_tests(files, work)


def _draw(paths: list[str], seed: int, count: int) -> list[Mutant]:
    """Random changes. A change of the sources leaves those of other lines in the draw, as each has its own number."""
    every = [mutant for path in paths for mutant in mutants(ROOT, path)]
    print(f"{len(every)} changes, {Counter(mutant.path.split('/')[2] for mutant in every)}", file=sys.stderr)
    return sorted(every, key=lambda mutant: hashlib.sha256(f"{seed} {mutant.name}".encode()).digest())[:count]


def _reach(items: dict[str, Any], sources: list[str], cache: Path) -> Reach:
    """All tests that are used. What a test file runs is measured once, as long as it and the sources stay the same."""
    kept = json.loads(cache.read_text()) if cache.exists() else {}
    state = hashlib.sha256(b"".join((ROOT / path).read_bytes() for path in sources))
    reached: Reach = {}
    for file, group in groupby(items.values(), key=lambda item: item.nodeid.partition("::")[0]):
        inside = list(group)
        if file in IN_PROCESSES.values():
            reached |= {item.nodeid: {"seconds": 0.0, "lines": {}} for item in inside}
            continue
        key = hashlib.sha256(state.digest() + (ROOT / file).read_bytes()).hexdigest()
        if kept.get(file, {}).get("key") != key:
            print(f"measuring {file}", file=sys.stderr, flush=True)
            kept[file] = {"key": key, "tests": forked(lambda inside=inside: reach(inside, sources), 600)}
            cache.write_text(json.dumps(kept))
        reached |= {test: run for test, run in kept[file]["tests"].items() if test in items}
    return reached


def _outcome(mutant: Mutant, tests: Reach, items: dict[str, Any]) -> str:
    """Try the tests that run the statement, the fastest first.

    If none does, it runs at import or in other processes: then try the tests of its function or class, those of the
    same name as the file, which may start processes, and those of definitions.
    """
    running = _within(mutant.path, mutant.lines, tests)
    if running:
        chosen = _fastest(running, tests)
        work = partial(fails, mutant.path, mutant.source, [items[test] for test in chosen])
    else:
        name = f"/test_{Path(mutant.path).stem}.py::"
        near = _fastest(_within(mutant.path, mutant.scope, tests), tests)
        chosen = [*dict.fromkeys((*near, *(t for t in tests if t.startswith(OF_DEFINITIONS) or name in t)))]
        work = partial(fails_when_imported, mutant.path, mutant.source, chosen)
    result = forked(work, 30 + 5 * sum(tests[test]["seconds"] for test in chosen))
    if not result and mutant.path in IN_PROCESSES:
        own = [test for test in tests if test.startswith(IN_PROCESSES[mutant.path])]
        result = forked(partial(fails_when_imported, mutant.path, mutant.source, own), 300)
    if result in STOPPED:
        return "timed out"
    return "killed" if result else "survived"


def _within(path: str, lines: tuple[int, int], tests: Reach) -> list[str]:
    area = range(lines[0], lines[1] + 1)
    return [test for test, run in tests.items() if not set(run["lines"].get(path, ())).isdisjoint(area)]


def _fastest(names: list[str], tests: Reach) -> list[str]:
    chosen, seconds = [], 0.0
    for test in sorted(names, key=lambda test: tests[test]["seconds"]):
        seconds += tests[test]["seconds"]
        if seconds < ENOUGH:
            chosen.append(test)
    return chosen


@cache
def _commit() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()


def _write(
    options: argparse.Namespace, drawn: list[Mutant], outcomes: dict[str, str], module_of: dict[str, str]
) -> dict[str, Any]:
    from afield.evaluation import wilson
    from afield.records.files import write_json

    reasons = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}
    judged = {
        mutant.name: "equivalent"
        if outcomes[mutant.name] == "survived" and mutant.name in reasons
        else outcomes[mutant.name]
        for mutant in drawn
        if mutant.name in outcomes
    }
    modules: dict[str, Counter[str]] = {module: Counter() for module in MODULES}
    for mutant in drawn:
        if mutant.name in judged:
            modules[module_of[mutant.path]].update(("tried", judged[mutant.name]))
    total = sum(modules.values(), Counter())
    noticed, counted = total["killed"] + total["timed out"], total["tried"] - total["equivalent"]
    summary = {
        "commit": _commit(),
        "tool": f"tests/mutation with the operators of mutmut {version('mutmut')}",
        "seed": options.seed,
        "score": noticed / counted,
        "score_ci95": wilson(noticed, counted),
        "total": total,
        "modules": modules,
        "survived": [name for name, outcome in judged.items() if outcome == "survived"],
    }
    write_json(options.out, summary | {"outcomes": outcomes})
    return summary


if __name__ == "__main__":
    main()
