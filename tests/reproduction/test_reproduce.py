"""The papers at size smoke: every target, a kill, a time budget, bad input; and what their images and lines are."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from afield.cli import main
from afield.data import load, make_fold
from afield.data.splits import Validation
from afield.evaluation import METRICS
from afield.records import Record, read_json, read_records, write_records
from afield.reproduction import PAPERS, seeds
from afield.reproduction.corruptions import CORRUPTIONS, with_corruptions
from afield.reproduction.deadline import Deadline, OutOfTimeError
from afield.reproduction.paper import document
from afield.reproduction.pictures import Pictures, digits
from afield.reproduction.place import Place
from afield.runs.callback import SILENT
from afield.training import loop
from tests.killed import command
from tests.made_records import made_record


def smoke(paper: str, out: Path, *arguments: str) -> list[str]:
    return ["reproduce", paper, "--size", "smoke", "--out", str(out), *arguments]


def finish(paper: str, out: Path, *arguments: str) -> None:
    main(smoke(paper, out, *arguments))


def lines_of(out: Path) -> list[Record]:
    """Records without times."""
    found = [dataclasses.replace(line, duration_s=0.0) for line in read_records(out)]
    assert found
    return found


def tables_of(paper: str, out: Path) -> list:
    """All tables of the page, from the records."""
    sections = document(PAPERS[paper], lines_of(out), read_json(out / "summary.json")).sections
    return [(table.caption, table.header, list(table.rows)) for section in sections for table in section.tables]


@pytest.fixture(scope="module")
def margin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("margin") / "out"
    finish("margin", out)
    return out


def test_margin_has_every_study_and_figure(margin):
    lines = lines_of(margin)
    studies = {line.study for line in lines}
    assert studies == {"cifar10/resnet8", "cifar100/resnet8", "exemplars/resnet8", "plane"}
    assert {line.details["class_count"] for line in lines if line.study == "exemplars/resnet8"} == {20}
    for line in lines:
        assert all(0 <= line.test["test"][name] <= 1 for name in ("accuracy", "map", "ece"))
        assert all(0 <= value <= METRICS[name].highest for test in line.test.values() for name, value in test.items())
        assert line.test.keys() == {"test"} == line.epochs[line.selection.epoch - 1].test.keys()
    for name in ("figure-2-cifar10-resnet8", "gradients", "scales", "figure-1-arcface"):
        assert (margin / f"{name}.svg").read_text().startswith("<svg xmlns=")
    plane = next(line.details["plane"] for line in lines if line.study == "plane")
    assert np.array(plane["weights"]).shape == (3, 2)
    assert len(plane["points"]) == len(plane["labels"])
    page = (margin / "report.html").read_text()
    assert "ResNet-18: angular margin" in page
    assert "not run" in page


def test_the_margin_page_has_the_means_of_its_lines(margin):
    lines = lines_of(margin)
    found = [
        line.test["test"]["map"] for line in lines if (line.study, line.recipe) == ("cifar100/resnet8", "cross-entropy")
    ]
    (rows,) = (rows for caption, _, rows in tables_of("margin", margin) if caption.startswith("cifar100/resnet8"))
    assert rows[0][0] == "cross-entropy"
    assert rows[0][1] == f"{100 * np.mean(found):.1f} (n = 2)"


@pytest.mark.parametrize(
    ("paper", "figures"),
    [
        ("flattening", ("lambda-accuracy", "lambda-ece", "figure-1-0")),
        ("augmentation", ("figure-2-G-printed", "figure-2-D-printed", "figure-3-printed-sign-D", "figure-3-default")),
        ("combined", ("gains-pacs-frozen", "gains-cifar-10")),
    ],
)
def test_every_other_target_goes_through_and_again_gives_the_same_page(afield, tmp_path, paper, figures):
    code, _, err = afield("reproduce", paper, "--size", "smoke", "--out", tmp_path / "out")
    assert code == 0, err
    page = (tmp_path / "out" / "report.html").read_text()
    lines = read_records(tmp_path / "out")
    for figure in figures:
        assert (tmp_path / "out" / f"{figure}.svg").exists()
    code, _, err = afield("reproduce", paper, "--size", "smoke", "--out", tmp_path / "out")
    assert code == 0, err
    assert read_records(tmp_path / "out") == lines
    assert (tmp_path / "out" / "report.html").read_text() == page


def test_killed_and_run_again_with_two_jobs_it_keeps_what_is_finished_and_has_the_same_tables(margin, tmp_path):
    out = tmp_path / "out"
    assert command(tmp_path, *smoke("margin", out), watched="out/runs/[^/]*/done", at=4).killed
    kept = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/done")}
    assert len(kept) == 3
    finish("margin", out, "--jobs", "2")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert lines_of(out) == lines_of(margin)
    assert tables_of("margin", out) == tables_of("margin", margin)


def test_runs_with_a_record_are_not_repeated(margin, afield, tmp_path):
    out, lines = tmp_path / "out", read_records(margin)
    out.mkdir()
    write_records(out / "records.jsonl", [line for line in lines if line.study != "plane"])
    code, printed, err = afield(*smoke("margin", out, "--dry-run"))
    assert code == 0, err
    assert printed.count("to do") == 3
    finish("margin", out)
    assert len(list(out.glob("runs/*/done"))) == 3
    assert lines_of(out) == lines_of(margin)
    assert tables_of("margin", out) == tables_of("margin", margin)
    shutil.rmtree(out / "runs")
    finish("margin", out)
    assert not (out / "runs").exists()
    assert lines_of(out) == lines_of(margin)
    assert read_json(out / "summary.json")["done"] == len(lines)


def test_a_time_budget_ends_it_with_a_code_of_its_own_and_the_same_command_goes_on(margin, afield, tmp_path):
    out = tmp_path / "out"
    code, said, _ = afield("reproduce", "margin", "--size", "smoke", "--out", out, "--time-budget", "0.001s")
    total, runs = len(lines_of(margin)), len({line.run for line in lines_of(margin)})  # studies share equal runs
    assert code == 3
    assert f"{runs} of {runs} runs are left, about" in said
    assert read_json(out / "summary.json")["done"] == 0
    only = ("reproduce", "margin", "--size", "smoke", "--out", out, "--only", "plane")
    assert afield(*only)[0] == 0
    assert {line.study for line in read_records(out)} == {"plane"}
    assert read_json(out / "summary.json")["tasks"] == total


def test_a_run_that_ran_out_of_time_goes_on_from_its_checkpoint(margin, afield, tmp_path, monkeypatch):
    ends = iter([False] * 5 + [True] * 1000)

    def check(deadline: Deadline) -> None:
        if next(ends):
            raise OutOfTimeError

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "CHECKPOINT_SECONDS", -1)
        patched.setattr(Deadline, "check", check)
        assert afield(*smoke("margin", out, "--only", "plane"))[0] == 3
    assert list(out.glob("runs/*/checkpoint.safetensors"))
    finish("margin", out, "--only", "plane")
    assert lines_of(out) == [line for line in lines_of(margin) if line.study == "plane"]


def test_the_deadline_ends_between_runs_and_after_epochs():
    with pytest.raises(OutOfTimeError):
        Deadline(SILENT, 0.0).features(1, 2)
    Deadline(SILENT, 60.0).features(1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--size", "smoke", "--only", "cifar10/resnet9"),
            "unknown study 'cifar10/resnet9'; did you mean 'cifar10/resnet8'",
        ),
        (("--size", "smoke", "--time-budget", "soon"), "--time-budget must be a duration such as 90s, 9m or 2h"),
        (("--size", "smoke", "--jobs", "0"), "--jobs must be a whole number between 1 and 1000, got 0"),
        (("--size", "small", "--data", "nowhere"), "no cifar10.npz in nowhere; --data must contain"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(afield, tmp_path, arguments, message):
    code, _, err = afield("reproduce", "margin", "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert err.startswith(f"afield: {message}")
    assert err.count("\n") == 1
    assert not list((tmp_path / "out").glob("runs/*"))


def test_a_paper_that_is_not_there_ends_with_code_2(afield, tmp_path):
    assert afield("reproduce", "margins", "--out", tmp_path)[0] == 2


def test_subsets_are_balanced_seeded_and_nested():
    pictures = digits()
    small, large = pictures.subset(50, 20), pictures.subset(100, 20)
    assert np.bincount(small.train[1]).tolist() == [5] * 10
    assert np.bincount(small.test[1]).tolist() == [2] * 10
    assert np.array_equal(pictures.subset(50, 20).train[0], small.train[0])
    for label in range(10):
        assert np.array_equal(large.train[0][large.train[1] == label][:5], small.train[0][small.train[1] == label])
    three = pictures.subset(30, 9, (3, 5, 8))
    assert three.class_names == ("3", "5", "8")
    assert set(three.train[1]) == {0, 1, 2}


def test_exemplars_are_classes_of_one_image_at_half_size():
    made = digits().exemplars(20, 6, 3)
    assert made.train[0].shape == (120, 8, 8, 3)
    assert np.bincount(made.test[1]).tolist() == [3] * 20
    assert len({image.tobytes() for image in made.train[0][made.train[1] == 4]}) > 1


def test_corruptions_are_unseen_domains_of_the_same_test_images():
    gray = np.full((4, 8, 8, 3), 100, np.uint8)
    gray[:, :, 4:] = 200
    labels = np.array([0, 1, 0, 1])
    pictures = Pictures("gray", (gray, labels), (gray, labels), ("a", "b"))
    data = with_corruptions(pictures)
    assert data.domain_names == ("clean", "test", *CORRUPTIONS)
    fold = make_fold(data, ("test", *CORRUPTIONS), Validation(0.5), 0)
    assert (data.domains[np.concatenate([fold.train, fold.val])] == 0).all()
    seen = {name: data.images[indices].astype(float) for name, indices in fold.tests.items()}
    assert np.array_equal(seen["test"], gray)
    assert np.array_equal(np.unique(seen["contrast"]), [135, 165])  # 150 -+ 0.3 * 50
    assert 15 < (seen["noise"] - gray).std() < 30
    assert 100 < seen["blur"][0, 4, 4, 0] < 200
    assert not np.array_equal(seen["noise"][0], seen["noise"][1])


def test_seeds_without_all_parts_are_left_out():
    def line(seed: int, **test: float) -> Record:
        return made_record(seed=seed, test={part: {"map": value} for part, value in test.items()})

    lines = [line(0, a=0.2), line(0, b=0.4), line(1, a=0.6), line(2, a=0.5, b=0.7)]
    assert seeds.values(lines, "map") == pytest.approx({0: 0.3, 2: 0.6})
    assert seeds.values(lines, "map", "a") == {0: 0.2, 1: 0.6, 2: 0.5}
    found = seeds.paired(seeds.values(lines, "map", "a"), {0: 0.1, 2: 0.2, 5: 1.0})
    assert found is not None
    assert (found.mean, found.n) == (pytest.approx(0.2), 2)
    assert seeds.over({}) is None
    assert seeds.paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(("size", "stems"), [("small", ("",)), ("full", ("", ", small stem"))])
def test_sizes_name_every_published_table_in_full(size, stems, monkeypatch, tmp_path):
    from afield.reproduction.margin import plan as module
    from afield.reproduction.margin.page import PUBLISHED

    monkeypatch.setattr(Place, "cifar", lambda place, name: digits())
    found = {study.name: study for study in module.studies(Place(size, tmp_path))}
    for data, network in PUBLISHED:
        assert {f"{data}/{network}{stem}" for stem in stems} <= found.keys()
        assert {"cross-entropy", module.PAPER.name} <= {recipe.name for recipe in found[f"{data}/{network}"].recipes}
    assert module.PAPER.head_options == {"scale": 1.0, "margin_rad": 0.1, "gradient": "exact"}


def test_combinations_on_cifar_train_in_the_stages_of_paper_b(monkeypatch, tmp_path):
    from afield.reproduction.combined.plan import studies

    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(Place, "cifar", lambda place, name: digits())
    monkeypatch.setattr(Place, "pacs", lambda place, size: load("digits"))
    monkeypatch.setattr(Pictures, "subset", lambda pictures, *counts: asked.append(counts) or pictures)
    found = {study.name: study for study in studies(Place("small", tmp_path))}
    study = found["CIFAR-10"]
    assert (asked, study.seeds) == ([(6000, 5000)], 5)
    first, last = study.setup.training, study.setup.tuning
    assert (first.epochs, first.augment, first.learning_rate) == (12, "none", 0.1)
    assert last == dataclasses.replace(first, epochs=16, learning_rate=0.05)
    assert (first.batch_size, first.warmup, first.precision) == (128, 0.2, "bf16")
    recipes = {recipe.name: recipe for recipe in study.recipes}
    assert len(recipes) == 8
    for name, recipe in recipes.items():
        assert recipe.augment == ("learned" if "learned" in name else None)
        assert recipe.head == ("arcface" if "margin" in name else "linear")
        assert ("complement_flattening" in recipe.losses) == ("flattening" in name)
        assert not recipe.augment_options  # at least 400 steps by default
    assert len(found["PACS, frozen"].recipes) == 4  # learned augmentation needs images


def test_committed_reproductions_name_their_size_and_paper():
    for path in sorted((Path(__file__).parents[2] / "results").glob("reproduce-*/summary.json")):
        about = json.loads(path.read_text())
        assert about["paper"] in PAPERS
        assert about["size"] in ("small", "full")
        assert os.path.getsize(path.parent / "records.jsonl")
