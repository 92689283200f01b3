"""The import rules: arrows point down, rooms of one floor do not see each other, and torch stays where it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import afield

ROOT = Path(afield.__file__).parent
BASE = {"errors", "pixels", "prefetch", "records", "registry", "target_split", "types", "validation"}
TOP = {"cli", "commands", "console", "catalog", "__main__", "__init__"}
ROOMS = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")} | {"augment.learned"}
MAY_IMPORT = {
    **{room: set() for room in ("errors", "pixels", "prefetch", "target_split")},
    "types": {"target_split"},
    **{room: {"errors"} for room in ("validation", "registry", "records")},
    **dict.fromkeys(("losses", "heads", "models", "augment", "data"), BASE),
    "objective": BASE | {"losses", "heads"},
    "classifier": BASE | {"objective"},
    "algorithms": BASE | {"classifier", "objective", "models"},
    "evaluation": {"errors", "registry", "records"},
    "training": BASE | {"algorithms", "augment", "classifier", "evaluation"},
    "augment.learned": BASE | {"augment", "evaluation", "losses", "training"},
    "reporting": {"errors", "records", "evaluation"},
    "recipes": BASE | {"algorithms", "augment", "training"},
    "runs": ROOMS - TOP - {"comparison", "launch", "search", "preview", "reproduction", "reporting", "deploy"},
    "launch": ROOMS - TOP - {"comparison", "search", "preview", "reproduction", "reporting", "deploy"},
    "comparison": ROOMS - TOP - {"search", "preview", "reproduction", "deploy"},
    "search": ROOMS - TOP - {"preview", "reproduction", "reporting", "deploy"},
    "preview": ROOMS - TOP - {"search", "reproduction", "deploy"},
    "reproduction": ROOMS - TOP - {"deploy"},
    "deploy": ROOMS - TOP - {"reproduction", "search", "preview"},
    **dict.fromkeys(TOP, ROOMS),
}


def room_of(module):
    """The folder or module right below afield; learning augmentations trains, and so stands above training."""
    inner = module.removeprefix("afield").lstrip(".")
    return "augment.learned" if inner.startswith("augment.learned") else inner.partition(".")[0] or "__init__"


def imported_rooms(path):
    """The rooms that a file imports anything of, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (room_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "afield")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "afield":
                yield from (alias.name if alias.name in ROOMS else "__init__" for alias in node.names)
            elif node.module.startswith("afield."):
                yield room_of(node.module)


def test_every_room_has_its_rule():
    assert set(MAY_IMPORT) == ROOMS


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert set(imported_rooms(path)) - {room} <= MAY_IMPORT[room]


def test_no_module_is_a_drawer_for_odds_and_ends():
    names = {path.stem for path in ROOT.rglob("*.py")}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "misc", "common"})


@pytest.mark.parametrize("module", ["afield", "records", "registry", "errors", "evaluation", "reporting"])
def test_records_statistics_and_reports_are_free_of_torch(module):
    name = "afield" if module == "afield" else f"afield.{module}"
    code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
