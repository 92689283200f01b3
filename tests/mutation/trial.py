"""Tests of one pytest session, each set of them run in a forked process with one file of the package changed.

All tests are collected once. A change inside a function replaces the code of that function, in a fraction of a second;
for any other change, the process imports the package and the tests again.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import hypothesis
import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = ("-q", "-s", "-x", "--no-header", "-p", "no:cacheprovider", f"--rootdir={ROOT}")
MEMORY = 8 * 2**30
STOPPED = (signal.SIGXCPU, signal.SIGALRM)
Reach = dict[str, dict[str, Any]]
"""Test -> its seconds of CPU time, and the lines that it runs: path -> lines."""


FUNCTIONS: dict[CodeType, list[FunctionType]] = {}
"""The functions of the package, by their code."""


def with_tests(files: list[str], work: Callable[[dict[str, pytest.Item]], None]) -> None:
    """Collect the tests of the files, and call `work` with the tests by their names in place of running them."""

    class Instead:
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            gc.collect()
            FUNCTIONS.update(_functions(ROOT / "src"))
            gc.freeze()  # a fork that looks at these objects again would copy them
            work({item.nodeid: item for item in session.items})
            return True

    hypothesis.settings.register_profile(
        "mutation",
        database=None,
        derandomize=True,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    hypothesis.settings.load_profile("mutation")
    os.chdir(ROOT)
    pytest.main([*OPTIONS, *files], plugins=[Instead()])


def forked(work: Callable[[], Any], seconds: float) -> Any:
    """The result of `work` in a child process, or the signal that ended it, after `seconds` of CPU time at most."""
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if not child:
            os.setsid()
            signal.alarm(int(20 * seconds) + 60)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1,) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(silent, stream)
            try:
                pickle.dump(work(), answer)
            except BaseException:
                answer.write(pickle.dumps(RuntimeError(traceback.format_exc())))
            answer.flush()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # processes that the tests started
        answer.seek(0)
        if os.WIFSIGNALED(status):
            return signal.Signals(os.WTERMSIG(status))
        result = pickle.load(answer)
        if isinstance(result, RuntimeError):
            raise result
        return result


def reach(items: list[pytest.Item], sources: list[str]) -> Reach:
    """The tests that pass without a change and without other programs, their time, and the lines that they run."""
    subprocess.Popen = None  # type: ignore[assignment, misc]
    cover = coverage.Coverage(data_file=None, include=[str(ROOT / path) for path in sources])
    tests: Reach = {}
    cover.start()
    for item in items:
        cover.switch_context(item.nodeid)
        start = time.process_time()
        if not _failed([item]):
            tests[item.nodeid] = {"seconds": time.process_time() - start, "lines": {}}
    cover.stop()
    data = cover.get_data()
    for path in sources:
        for line, names in data.contexts_by_lineno(str(ROOT / path)).items():
            for test in tests.keys() & names:
                tests[test]["lines"].setdefault(path, []).append(line)
    return tests


def fails(path: str, source: str, items: list[pytest.Item]) -> bool:
    """Whether one of the tests fails, in their order, with `source` in place of the file."""
    file = str(ROOT / path)
    new = compile(source, file, "exec", dont_inherit=True)
    old = compile(Path(file).read_text(), file, "exec", dont_inherit=True)
    try:
        for old_code, new_code in list(_changed_functions(old, new)):
            for function in FUNCTIONS[old_code]:
                function.__code__ = new_code
    except (TypeError, KeyError, ValueError):  # not in a function, or with other variables of the enclosing scope
        return fails_when_imported(path, source, [item.nodeid for item in items])
    return _failed(items)


def _functions(folder: Path) -> dict[CodeType, list[FunctionType]]:
    found: dict[CodeType, list[FunctionType]] = {}
    for value in gc.get_objects():
        if isinstance(value, FunctionType) and value.__code__.co_filename.startswith(str(folder)):
            found.setdefault(value.__code__, []).append(value)
    return found


def _failed(items: list[pytest.Item]) -> bool:
    """Run the tests, up to the first that fails."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        before = item.session.testsfailed
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed > before:
            return True
    return False


def _changed_functions(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The functions that differ. Raises `TypeError` if the code of a module or class does."""
    before, after = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new))
    own = [
        [code.co_code, code.co_names, *map(repr, set(code.co_consts) - {*inner})]
        for code, inner in ((old, before), (new, after))
    ]
    if own[0] != own[1]:
        raise TypeError
    for one, other in zip(before, after, strict=True):
        if one.co_flags & inspect.CO_OPTIMIZED:
            if one != other:
                yield one, other
        else:
            yield from _changed_functions(one, other)


def fails_when_imported(path: str, source: str, tests: list[str]) -> bool:
    """`fails`, where the package is imported from a copy with the change, also by processes that the tests start."""
    copy = Path(tempfile.mkdtemp())
    shutil.copytree(ROOT / "src", copy / "src")
    (copy / path).write_text(source)
    sys.path.insert(0, str(copy / "src"))
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    for name in list(sys.modules):
        if name.split(".")[0] in ("afield", "tests", "conftest"):
            del sys.modules[name]

    class Selection:
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            found = {item.nodeid: item for item in items}
            items[:] = [found[test] for test in tests if test in found]

    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    result = pytest.main([*OPTIONS, *files], plugins=[Selection()])
    shutil.rmtree(copy)
    return result not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
