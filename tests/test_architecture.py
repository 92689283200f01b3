"""The import rules: arrows point down, no circles, torch only where it is needed; and names that say what is inside."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import afield

ROOT = Path(afield.__file__).parent
BASE = {
    "amounts",
    "deprecated",
    "distributions",
    "errors",
    "fabric",
    "keywords",
    "names",
    "pixels",
    "plugins",
    "prefetch",
    "records",
    "registry",
    "target_split",
    "types",
    "validation",
}
TOP = {"cli", "commands", "console", "catalog", "printing", "testing", "__main__", "__init__"}
USES = {"deploy", "serving"}
FOLDERS = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")} | {"augment.learned"}
MAY_IMPORT = {
    **{
        folder: set()
        for folder in (
            *("deprecated", "distributions", "errors", "fabric", "pixels", "plugins", "prefetch", "target_split"),
        )
    },
    "types": {"target_split"},
    **{folder: {"errors"} for folder in ("amounts", "keywords", "names", "records")},
    "validation": {"distributions", "errors"},
    "registry": {"deprecated", "errors", "plugins"},
    "settings": BASE,
    "augmentors": {"augment.learned"},
    **dict.fromkeys(("losses", "heads", "models", "augment", "data"), BASE),
    "objective": BASE | {"losses", "heads"},
    "classifier": BASE | {"heads", "objective"},
    "algorithms": BASE | {"classifier", "objective", "models"},
    "adaptation": BASE | {"algorithms", "classifier", "evaluation", "heads", "losses", "models", "objective"},
    "evaluation": {"errors", "registry", "records"},
    "training": BASE | {"algorithms", "augment", "classifier", "evaluation", "models", "settings"},
    "augment.learned": BASE | {"augment", "evaluation", "losses", "training"},
    "web": {"errors"},
    "labeling": BASE | {"data", "evaluation", "objective", "web"},
    "combinations": BASE | {"settings"},
    "reporting": {"amounts", "errors", "records", "evaluation"},
    "recipes": BASE | {"adaptation", "algorithms", "augment", "settings"},
    "runs": FOLDERS - TOP - {"comparison", "launch", "search", "preview", "reproduction", "reporting"} - USES,
    "launch": FOLDERS - TOP - {"comparison", "search", "preview", "reproduction", "reporting"} - USES,
    "comparison": FOLDERS - TOP - {"search", "preview", "reproduction"} - USES,
    "search": FOLDERS - TOP - {"preview", "reproduction", "reporting"} - USES,
    "preview": FOLDERS - TOP - {"search", "reproduction"} - USES,
    "reproduction": FOLDERS - TOP - USES,
    "deploy": FOLDERS - TOP - {"reproduction", "search", "preview", "serving"},
    "serving": {"data", "deploy", "errors", "names", "pixels", "web"},
    **dict.fromkeys(TOP, FOLDERS),
}


def folder_of(module):
    """The folder or module right below afield; learning augmentations trains, and so stands above training."""
    inner = module.removeprefix("afield").lstrip(".")
    return "augment.learned" if inner.startswith("augment.learned") else inner.partition(".")[0] or "__init__"


def imported_folders(path):
    """The folders that a file imports from, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (folder_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "afield")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "afield":
                yield from (alias.name if alias.name in FOLDERS else "__init__" for alias in node.names)
            elif node.module.startswith("afield."):
                yield folder_of(node.module)


def test_every_folder_has_its_rule():
    assert set(MAY_IMPORT) == FOLDERS


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    folder = folder_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert set(imported_folders(path)) - {folder} <= MAY_IMPORT[folder]


def test_lightning_fabric_is_imported_in_one_place():
    found = {module for module, tree in MODULES.items() for name, _ in imports_of(tree) if "lightning_fabric" in name}
    assert found == {"afield.fabric"}


def test_a_process_that_trains_small_networks_does_not_import_large_libraries_that_it_does_not_need():
    heavy = ("timm", "torchvision", "torchmetrics", "transformers", "sklearn", "pandas", "scipy.stats", "matplotlib")
    program = "import sys, afield.comparison.compare, afield.launch.local, afield.console; from afield import fabric\n"
    program += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_needs_neither_numpy_nor_torch():
    program = "import sys; sys.argv = ['afield', '--help']\nfrom afield.cli import main\ntry:\n    main()\n"
    program += "except SystemExit: sys.exit(2 * ('numpy' in sys.modules) + ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_no_module_is_a_drawer_for_odds_and_ends():
    names = {path.stem for path in ROOT.rglob("*.py")}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "misc", "common"})


def test_no_module_has_a_name_that_does_not_say_what_is_inside():
    names = {path.stem for path in ROOT.rglob("*.py")} | {path.name for path in ROOT.rglob("*") if path.is_dir()}
    vague = "ahead separate ranges rowwise windows crew calling following describing seen shown hardest"
    assert names.isdisjoint(vague.split())


def module_of(path):
    """The dotted name of a file; that of its folder for ``__init__.py``."""
    return ".".join(("afield", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def imports_of(tree):
    """Pairs (module, name) that a module imports, inside functions too; name is None for a plain import.

    Imports for type checkers alone never run, and are left out.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports_of(other)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        else:
            yield from imports_of(node)


def defining(module, name):
    """The module where a name is defined that is imported from `module`, which may pass it on from another."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    for source, passed_on in imports_of(MODULES[module]):
        if name is not None and passed_on == name and source in MODULES:
            return defining(source, name)
    return module


def circles(graph):
    """Groups of nodes that reach each other (Tarjan's strongly connected components of more than one node)."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}) == [["a", "b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": ["d"], "d": []}) == []


def test_a_name_is_traced_to_the_module_that_defines_it():
    assert defining("afield.heads", "ArcFaceHead") == "afield.heads.arcface"
    assert defining("afield.losses", "flattening") == "afield.losses.flattening"
    assert defining("afield.objective", "Objective") == "afield.objective"


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        module: sorted({defining(source, name) for source, name in imports_of(tree) if source in MODULES} - {module})
        for module, tree in MODULES.items()
    }
    assert circles(graph) == []


def test_the_table_of_folders_in_contributing_is_complete():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    section = text.split("## Where things are")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert sorted(named) == sorted(FOLDERS - {"__init__", "__main__"})


@pytest.mark.parametrize("module", ["afield", "records", "registry", "errors", "evaluation", "reporting", "settings"])
def test_records_statistics_and_reports_are_free_of_torch(module):
    name = "afield" if module == "afield" else f"afield.{module}"
    code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
