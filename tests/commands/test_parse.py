"""Habits of the command line: help with effective defaults and examples, errors of one line, quiet pipes, progress."""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest
from rich.console import Console
from rich.progress import Progress

from afield import console
from afield.commands.groups import grouped
from afield.commands.parse import VERBS, parse
from afield.settings import PRESETS, TrainConfig
from tests.command_line import refused


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The help of a verb as one line without borders."""
    with pytest.raises(SystemExit) as end:
        parse([*words, "--help"])
    assert not end.value.code
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_has_examples_that_can_be_parsed_and_every_option_a_description(name, capsys):
    text = help_of(capsys, *name.split())
    for example in VERBS[name].examples:
        assert " ".join(example.split()) in text
        assert isinstance(parse(shlex.split(example)[1:]), VERBS[name])
    for field in dataclasses.fields(VERBS[name]):
        option = f"--{field.name.replace('_', '-')}"
        if option in text:
            described = re.split(rf"{option}(?:, \S+)? ", text)[-1]
            assert len(described.split()) > 4, option
    assert "None" not in text


@pytest.mark.parametrize("name", VERBS)
def test_options_in_groups_give_the_options_of_the_verb(name):
    """What the words do not say has the value of the dataclass."""
    words = {"MODEL": ["model"], "FOLDER": ["folder"], "RUN_FOLDER": ["run"], "PAPER": ["margin"]}
    required = {
        "adapt": ["model", "--unlabeled", "new", "--out", "x"], "forecast": ["model", "--unlabeled", "new"],
        "predict": words["MODEL"], "export": words["MODEL"], "card": words["MODEL"], "label": ["model", "new"],
        "serve": words["MODEL"], "push": ["model", "ada/model"], "report": words["RUN_FOLDER"],
        "table": words["RUN_FOLDER"], "reproduce": words["PAPER"],
    }  # fmt: skip
    found = parse([*name.split(), *required.get(name, [])])
    for field in dataclasses.fields(found):
        if field.default is not dataclasses.MISSING:
            assert getattr(found, field.name) == field.default, field.name


def test_options_stand_in_the_group_of_the_class_that_defines_them():
    fields = {field.name: field.type for field in dataclasses.fields(grouped(VERBS["compare"]))}
    groups = ["image", "source", "experiment", "training", "tracking", "launch"]
    own = {"data", "recipes", "seeds", "held_out", "train_domains", "baseline", "selection", "metric", "adapt_fraction"}
    assert set(fields) == {*own, "first_seed", "backbones", "transductive", "label_budget", "strategies", *groups}
    assert set([*fields][-6:]) == set(groups)
    members = {name: {each.name for each in dataclasses.fields(fields[name])} for name in groups}
    assert "image_size" in members["image"]
    assert "freeze" in members["experiment"]
    assert {field.name for field in dataclasses.fields(TrainConfig)} == members["training"]
    assert "dry_run" in members["launch"]
    assert members["tracking"] == {"log", "keep_checkpoints"}


def test_help_shows_what_the_presets_give(capsys):
    text = help_of(capsys, "train")
    assert PRESETS["frozen"].epochs == 12
    assert "--epochs INT Passes over the training images. (default: 30; by preset: digits 8," in text
    assert "frozen 12, partial 8)" in text
    assert "(default: 0.8)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "unknown command 'trian'; did you mean 'train'?"),
        (("augment", "serch"), "unknown command: afield augment 'serch'; did you mean 'search'?"),
        (
            ("compare", "--recipes", "erm", "--seeds=2", "--recipes", "vrex"),
            "--recipes is given twice; give it once, with all its values",
        ),
        (("train", "--image-size", "32", "--image_size=64"), "--image-size is given twice"),
        (("train", "--freeze", "--no-freeze"), "--freeze and --no-freeze contradict each other; give one of them"),
        (("compare", "--no-freeze", "--freeze"), "--no-freeze and --freeze contradict each other"),
        (("train", "--epochss", "3"), "unknown option of afield train: '--epochss'; did you mean '--epochs'"),
        (("train", "--epochs", "x"), "--epochs must be a whole number, got 'x'; `afield train --help`"),
        (("train", "--learning-rate=big"), "--learning-rate must be a number, got 'big'"),
        (("train", "--seed", "x"), "--seed must be a whole number, got 'x'; `afield train --help`"),
        (("train", "--keep-checkpoints", "1.5"), "--keep-checkpoints must be a whole number, got '1.5'"),
        (("train", "--validation-fraction", "few"), "--validation-fraction must be a number, got 'few'"),
        (("train", "--log", "tensorbord"), "--log must be one of csv, mlflow, tensorboard, wandb, got 'tensorbord'"),
        (("train", "--epochs"), "--epochs needs a value; `afield train --help` describes all options"),
        (("train", "--layout", "x"), "--layout must be one of class, domain/class, split/class, got 'x'"),
        (("train", "photos"), "unrecognized options: photos"),
        (("predict",), "missing from afield predict: MODEL Model folder, written by `afield train`"),
        (("adapt", "model", "--out", "x"), "missing from afield adapt: --unlabeled"),
        (("list", "recipies"), "unknown kind 'recipies'; did you mean 'recipes'"),
    ],
)
def test_a_mistake_ends_in_one_line(afield, words, message):
    line = refused(afield, *words)
    assert message in line
    assert len(line) < 200


def test_underscores_and_equal_signs_are_understood():
    assert parse(["train", "--batch_size=32", "--no-freeze"]).batch_size == 32


def test_the_version_is_that_of_the_package(afield):
    assert afield("--version") == (0, f"afield {version('afield')}\n", "")


def test_afield_alone_lists_its_commands(afield):
    code, out, _ = afield()
    assert code == 2
    assert all(re.search(rf"^  {name} +[A-Z].*\.$", out, re.MULTILINE) for name in VERBS)
    assert afield("--help") == (0, out, "")
    assert len(re.findall("^  augment ", afield("augment", "--help")[1], re.MULTILINE)) == 3


@pytest.mark.parametrize(("one", "many"), [("recipe", "recipes"), ("strategy", "strategies"), ("loss", "losses")])
def test_kinds_are_understood_in_the_singular(afield, one, many):
    assert afield("list", one) == afield("list", many)


@pytest.mark.skipif(sys.platform == "win32", reason="closed pipes are POSIX's")
@pytest.mark.parametrize("words", ["list", "predict MODEL PHOTOS", "predict MODEL PHOTOS --json"])
def test_a_closed_pipe_ends_quietly(words, photo_model, photos):
    given = {"MODEL": photo_model, "PHOTOS": photos}
    command = [sys.executable, "-m", "afield", *(str(given.get(word, word)) for word in words.split())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_progress_is_a_line_now_and_then_without_a_terminal(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("afield.console.time.monotonic", lambda: now[0])
    out = Console(file=io.StringIO(), width=40)
    callback = console.ConsoleCallback(out, Progress(console=out, disable=True))
    for done in range(1, 41):
        now[0] = done
        callback.predict(64 * done, 100_000)
    assert out.file.getvalue().splitlines() == [
        f"predicting images: {64 * done:,} of 100,000" for done in (10, 20, 30, 40)
    ]


def test_train_says_what_it_does(afield, photos, tmp_path):
    arguments = ("--image-size", 16, "--epochs", 1, "--recipe", "erm", "--out", tmp_path / "model")
    _, out, err = afield("train", "--data", photos, *arguments)
    assert "  trains erm on all images; validation images select the epoch; backbone resnet8_ibn, weights none" in err
    assert "held out" not in err
    assert "fitted on validation images of the training domains" in out
