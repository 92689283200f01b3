"""The template project, installed by pip into a folder: its parts are found, checked and used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from afield.catalog import REGISTRIES
from afield.errors import InputError
from afield.recipes import Recipe, resolve
from afield.records import read_records
from tests.command_line import refused

TEMPLATE = Path(__file__).parent.parent / "examples" / "template"
PARTS = {
    "algorithms": "distilled", "losses": "brier", "heads": "distance", "augmentations": "fewer_colors",
    "datasets": "colored_shapes", "recipes": "brier_distance",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of packages with the template."""
    target = tmp_path_factory.mktemp("packages")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(TEMPLATE)]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def packages(folder, monkeypatch):
    """The folder on the path, until the end of a test."""
    monkeypatch.syspath_prepend(folder)
    before = {name: dict(registry._entries) for name, registry in REGISTRIES.items()}
    yield folder
    for name, registry in REGISTRIES.items():
        registry._entries.clear()
        registry._entries.update(before[name])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_afield", "broken_part")]:
        del sys.modules[name]


def add_package(folder: Path, name: str, points: str, source: str = "") -> None:
    """A package of one module with entry points."""
    information = folder / f"{name}-2.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (information / "entry_points.txt").write_text(points)
    (folder / f"{name}.py").write_text(source)


def test_its_own_tests_pass(packages):
    specification = importlib.util.spec_from_file_location("template_tests", TEMPLATE / "tests" / "test_my_afield.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 6
    for test in tests:
        test()


@pytest.mark.parametrize(("kind", "name"), PARTS.items())
def test_parts_are_known_without_an_import_and_listed_with_their_package(packages, afield, kind, name):
    registry = REGISTRIES[kind]
    assert name in registry
    assert name not in registry.names
    assert "my_afield" not in sys.modules
    code, out, _ = afield("list", kind)
    (line,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
    assert code == 0
    assert line.split()[-1] == "my-afield"
    assert registry.entry(name).package == "my-afield"


def test_an_algorithm_of_a_package_is_a_recipe_and_joins_others(packages):
    distilled, both = resolve(["distilled", "distilled+brier_distance"])
    assert distilled == Recipe("distilled", algorithm="distilled")
    assert both == Recipe(
        both.name, head="distance", losses={"cross_entropy": 1.0, "brier": 0.5}, algorithm="distilled"
    )
    with pytest.raises(InputError, match="unknown recipe 'distiled'; did you mean 'distilled'"):
        resolve(["distiled"])


def test_parts_are_compared_and_the_record_names_the_version_of_the_package(packages, afield, tmp_path):
    arguments = ("--recipes", "distilled", "brier_distance", "--augment", "fewer_colors", "--held-out", "red")
    shared = ("--data", "colored_shapes", "--seeds", 1, "--epochs", 1, "--out", tmp_path / "out")
    code, _, err = afield("compare", *shared, *arguments)
    assert code == 0, err
    assert "colored_shapes: 270 images, 16 x 16 pixels" in err
    distilled, brier_distance = read_records(tmp_path / "out")
    assert distilled.versions["my-afield"] == "0.1.0"
    assert set(distilled.epochs[0].train_terms) == {"objective", "distance"}
    assert brier_distance.config["recipe"]["head"] == "distance"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def part(:", "SyntaxError: invalid syntax"),
        ("part = 3", "TypeError: 3 is neither a class nor a function"),
        ("raise SystemError('first line\\nsecond')", "SystemError: first line"),
    ],
)
def test_a_broken_package_is_named_in_one_line_and_breaks_nothing_else(afield, tmp_path, monkeypatch, source, reason):
    monkeypatch.delitem(sys.modules, "broken_part", raising=False)
    add_package(tmp_path, "broken_part", "[afield.losses]\nbroken = broken_part:part\n", source)
    monkeypatch.syspath_prepend(tmp_path)
    message = "loss 'broken' of the package broken_part cannot be loaded: "
    assert message + reason in refused(afield, "compare", "--recipes", "erm", "--set", "losses.broken=1.0")
    code, out, _ = afield("list", "losses")
    assert code == 0
    assert message in " ".join(out.split())
    assert "cross_entropy" in out
    assert len(resolve(["erm"])) == 1


def test_a_name_that_is_taken_stays_that_of_afield(afield, tmp_path, monkeypatch):
    add_package(tmp_path, "taken_name", "[afield.losses]\nfocal = taken_name:part\n", "def part(): pass")
    monkeypatch.syspath_prepend(tmp_path)
    before = REGISTRIES["losses"]["focal"]
    with pytest.warns(UserWarning, match="loss 'focal' of the package taken_name is not used, because afield has the"):
        afield("list", "losses")
    assert REGISTRIES["losses"]["focal"] is before


def test_a_data_set_that_is_none_is_named(afield, packages, tmp_path, monkeypatch):
    add_package(tmp_path, "numbers_part", "[afield.datasets]\nnumbers = numbers_part:load\n", "def load(): return [3]")
    monkeypatch.syspath_prepend(tmp_path)
    said = refused(afield, "compare", "--data", "numbers", "--out", tmp_path / "out")
    assert "data set 'numbers' is not an ImageSet; its function returns a list" in said


def test_the_recipe_class_is_at_hand():
    import afield as package

    assert package.Recipe is Recipe
