"""Typed records and their migration, run hashes, seeds, files that are whole or absent, and the lock on a folder."""

import copy
import dataclasses
import errno
import hashlib
import json
import math
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from afield.errors import InputError
from afield.records import (
    Epoch,
    Estimate,
    Learned,
    Record,
    Selection,
    Summary,
    SummaryRow,
    canonical_json,
    exclusive,
    is_json,
    migrate,
    read_json,
    read_jsonl,
    read_record,
    read_records,
    read_summary,
    run_hash,
    seed_for,
    write_atomic,
    write_json,
    write_jsonl,
    write_record,
    write_records,
    write_summary,
)
from afield.records.decode import decode, encode
from tests.made_records import made_record

RESULTS = Path(__file__).parent.parent / "results"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_the_run_hash_is_the_start_of_the_sha256_of_schema_and_configuration():
    text = '[2,{"a":{"x":[1,2.5],"y":null},"b":"text"}]'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert run_hash({"b": "text", "a": {"y": None, "x": [1, 2.5]}}) == expected


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=5))
def test_the_run_hash_does_not_depend_on_the_order_of_keys(config):
    assert run_hash(dict(reversed(config.items()))) == run_hash(config)


@settings(deadline=None, max_examples=30)
@given(json_values)
def test_canonical_json_keeps_every_value(value):
    assert json.loads(canonical_json(value)) == value


def test_the_run_hash_changes_with_any_value():
    hashes = {run_hash(c) for c in ({"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, {"a": [1]}, {"a": {"b": 1}})}
    assert len(hashes) == 6


def test_the_run_hash_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_hash({"a": float("nan")})


def test_seeds_are_63_bits_of_the_sha256_of_the_names():
    digest = hashlib.sha256(b'["order",0,1]').digest()
    assert seed_for("order", 0, 1) == int.from_bytes(digest[:8], "big") // 2
    assert 0 <= seed_for("order", 0, 1) < 2**63


def test_seeds_tell_apart_names_numbers_and_where_names_end():
    seeds = [seed_for("a", 1), seed_for("a", "1"), seed_for("a1"), seed_for("a", 1, 0), seed_for(1, "a"), seed_for()]
    assert len(set(seeds)) == len(seeds)


def test_write_atomic_makes_folders_and_replaces_the_file(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    write_atomic(path, "first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    write_atomic(path, "old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_json_comes_back_as_it_was_written_with_keys_in_order(tmp_path):
    value = {"b": 1, "a": [1.5, None, {"ü": "é"}]}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    assert list(read_json(tmp_path / "v.json")) == ["b", "a"]


def test_json_that_could_not_be_read_elsewhere_is_refused_before_the_file_changes(tmp_path):
    write_json(tmp_path / "v.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "v.json", {"a": float("inf")})
    assert read_json(tmp_path / "v.json") == {"a": 1}


def test_json_lines_come_back_as_they_were_written(tmp_path):
    records = [{"a": 1, "text": "two\nlines\u2028and\x85more"}, {}, {"b": [None, 0.1]}]
    write_jsonl(tmp_path / "r.jsonl", records)
    assert read_jsonl(tmp_path / "r.jsonl") == records
    assert len((tmp_path / "r.jsonl").read_bytes().splitlines()) == 3


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_reading_a_missing_file_is_an_input_error_that_names_it(tmp_path, read):
    with pytest.raises(InputError, match=r"no file .*nothing\.json"):
        read(tmp_path / "nothing.json")


@pytest.mark.parametrize("read", [read_json, read_jsonl])
@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe", b"text\n"])
def test_reading_a_damaged_file_is_an_input_error_that_names_it(tmp_path, read, content):
    (tmp_path / "damaged.json").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.json"):
        read(tmp_path / "damaged.json")


def is_json_by_definition(value, levels=100):
    if isinstance(value, list | tuple | dict) and not levels:
        return False
    if isinstance(value, list | tuple):
        return all(is_json_by_definition(each, levels - 1) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json_by_definition(value[key], levels - 1) for key in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, str) or value is None or (isinstance(value, float) and math.isfinite(value))


NEARLY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text() | st.binary(max_size=1),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(max_size=2) | st.integers(0, 1), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(NEARLY_JSON, st.integers(0, 4))
def test_what_json_can_hold(value, levels):
    assert is_json(value, levels) == is_json_by_definition(value, levels)
    assert is_json(value) == is_json_by_definition(value)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_json_is_nested_at_most_a_hundred_levels_deep(wrap):
    value = 0
    for _ in range(100):
        value = wrap(value)
    assert is_json(value)
    assert not is_json(wrap(value))


HOLD = """
import sys, time
from pathlib import Path
from afield.records import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder held by another process, and that process."""
    folder = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield folder, process
        process.kill()


def test_a_folder_held_by_another_process_is_refused_until_that_process_is_killed(held):
    folder, process = held
    with pytest.raises(InputError, match="in use by another afield process"), exclusive(folder):
        pytest.fail("entered a folder that another process holds")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with exclusive(folder):
        write_atomic(folder / "file.txt", "ours")
    assert (folder / "file.txt").read_text() == "ours"


def test_a_folder_is_free_again_after_the_block_even_if_it_raised(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        1 / 0  # noqa: B018
    with exclusive(tmp_path), pytest.raises(InputError), exclusive(tmp_path):
        pytest.fail("entered a folder twice")


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write to"), exclusive(tmp_path / "file" / "out"):
        pytest.fail("entered a folder below a file")


ORIGIN = {
    "versions": {"python": "3.11.7", "afield": None},
    "hardware": {"cpu": "AMD EPYC", "cores": 2, "gpu": None},
    "commit": None,
}

MEASURES = {"distance": 0.1 + 0.2, "recognized_before": 0.9}

RECORD = Record(
    run="0123456789abcdef",
    recipe="erm",
    seed=0,
    held_out=("art", "photo"),
    config={"recipe": {"losses": {"cross_entropy": 1.0}}, "list": [1, None, 2.5]},
    split_hash="fedcba9876543210",
    images={"train": 90, "validation": 10, "test/art": 7, "test/photo": 8},
    epochs=(
        Epoch(1 / 3, {"accuracy": 0.1, "loss": 2.0}, {"art": {"accuracy": 1 / 7}}, {"class": 0.25, "domain": 1 / 12}),
        Epoch(None, {"accuracy": 0.30000000000000004}, {"art": {"accuracy": 0.5, "map": 0.0}}),
    ),
    duration_s=1.25,
    **ORIGIN,
    learned=Learned("learned", {"epochs": 1}, 4, ({"validation": MEASURES},), {"identity": "it helps to ..."}, 0.5),
    selection=Selection("train_validation", 2),
    test={"art": {"accuracy": 0.5}},
    study="PACS",
    details={"diverged": True, "classes": ["dog", "cat"]},
)

SUMMARY = Summary(
    data="pacs",
    selection="last",
    metric="accuracy",
    seeds=(0, 1),
    recipes={
        "erm": SummaryRow({"art": Estimate(0.5, 1 / 3, 2, (0.1, 0.9))}, Estimate(0.5, None, 1, None), None),
        "learned": SummaryRow({}, Estimate(0.6, 0.1, 2, (0.5, 0.7)), Estimate(0.1, 0.2, 2, (-0.1, 0.3)), 12.5),
    },
    recommended=None,
    reason="one seed",
)


def test_a_record_comes_back_as_it_was_written_to_the_last_digit(tmp_path):
    bare = dataclasses.replace(RECORD, run="0", learned=None, selection=None, test=None, study=None, details={})
    write_records(tmp_path / "records.jsonl", [RECORD, bare])
    write_record(tmp_path / "record.json", RECORD)
    assert read_records(tmp_path) == read_records(tmp_path / "records.jsonl") == [RECORD, bare]
    assert read_records(tmp_path, without={RECORD.run}) == [bare]
    assert read_record(tmp_path / "record.json") == RECORD


def test_a_run_that_is_not_text_is_an_input_error_also_where_runs_are_left_out(tmp_path):
    write_jsonl(tmp_path / "records.jsonl", [encode(RECORD) | {"run": [1]}])
    with pytest.raises(InputError, match="run must be text"):
        read_records(tmp_path, without={RECORD.run})


def test_a_summary_comes_back_as_it_was_written(tmp_path):
    write_summary(tmp_path / "summary.json", SUMMARY)
    assert read_summary(tmp_path / "summary.json") == SUMMARY


def test_a_record_has_one_unseen_part_or_none_by_that_name():
    assert dataclasses.replace(RECORD, held_out=("art",)).unseen == "art"
    with pytest.raises(ValueError, match="too many values"):
        RECORD.unseen  # noqa: B018


CONFIG = {
    "recipe": {"head": "subcentre_arcface", "head_options": {"centres": 3}, "augment": None},
    "training": {"epochs": 9},
}
OLD = {"run": "0f", "recipe": "subcentre_arcface", "seed": 1, "config": CONFIG, "split_hash": "1c", "duration_s": 2.5}
NEW = Record(
    run="0f",
    recipe="subcenter_arcface",
    seed=1,
    held_out=("art",),
    config={
        "recipe": {"head": "subcenter_arcface", "head_options": {"centers": 3}, "augment": None},
        "training": {"epochs": 9},
    },
    split_hash="1c",
    images={"train": 9, "validation": 1, "test/art": 2},
    epochs=(),
    duration_s=2.5,
    **ORIGIN,
)


def migrated(tmp_path, line):
    write_jsonl(tmp_path / "records.jsonl", [line])
    (record,) = read_records(tmp_path)
    return record


def test_a_record_of_version_1_of_a_comparison_has_its_test_metrics_by_part(tmp_path):
    learned = {
        "kind": "learned",
        "settings": {"recognised": 0.9},
        "first_epochs": 4,
        "epochs": [{"validation": {"recognised_before": 0.5}}],
        "collapses": {},
        "search_s": 1.5,
    }
    terms = {"objective": 1.0, "regulariser": -0.25}
    line = {
        "schema": 1,
        **OLD,
        "held_out": ["art"],
        "images": dict(NEW.images),
        "epochs": [
            {
                "train_loss": 0.75,
                "train_terms": terms,
                "validation": {"accuracy": 0.5},
                "test": {"art": {"accuracy": 0.25}},
            }
        ],
        "learned": learned,
        "selection": {"rule": "last", "epoch": 1},
        "test": {"accuracy": 0.25},
        **ORIGIN,
    }
    terms = {"objective": 1.0, "regularizer": -0.25}
    assert migrated(tmp_path, line) == dataclasses.replace(
        NEW,
        epochs=(Epoch(0.75, {"accuracy": 0.5}, {"art": {"accuracy": 0.25}}, terms),),
        learned=Learned("learned", {"recognized": 0.9}, 4, ({"validation": {"recognized_before": 0.5}},), {}, 1.5),
        selection=Selection("last", 1),
        test={"art": {"accuracy": 0.25}},
    )


def test_a_line_of_version_1_of_a_reproduction_has_one_epoch_and_details(tmp_path):
    config = {
        **CONFIG,
        "recipe": {"head_options": {}, "augment": "crop_flip+learned", "augment_options": {"epochs": 5}},
    }
    line = {
        **OLD,
        "config": config,
        "held_out": ["art"],
        "images": dict(NEW.images),
        "class_count": 2,
        "classes": ["dog", "cat"],
        "wrong_classes": {"dog": [None, 0.5]},
        "learned": {"collapses": {"identity": "close to it"}, "search_s": 9.5},
        "selection": {"epoch": 4, "rule": "train_validation"},
        "study": "PACS",
        "test": {"art": {"accuracy": 0.25, "ece": None, "map": 0.5}},
        "train_loss": 1.75,
        "validation": {"accuracy": 0.5, "loss": 1.5},
        **ORIGIN,
    }
    test = {"art": {"accuracy": 0.25, "map": 0.5}}
    assert migrated(tmp_path, line) == dataclasses.replace(
        NEW,
        config=config,
        epochs=(Epoch(1.75, {"accuracy": 0.5, "loss": 1.5}, test),),
        learned=Learned("learned", {"epochs": 5}, 4, (), {"identity": "close to it"}, 9.5),
        selection=Selection("train_validation", 4),
        test=test,
        study="PACS",
        details={"class_count": 2, "classes": ["dog", "cat"], "wrong_classes": {"dog": [None, 0.5]}},
    )


ARM = {
    **OLD,
    "recipe": "every image, recognised 0.8",
    "images": {"train": 9, "validation": 1, "test": 2},
    "study": "CIFAR-10",
    "validation_accuracy": 0.5,
    "search_cpu_s": 31.25,
    "test": {"test": {"accuracy": 0.25}},
    "pairs": "data:image/png;base64,iVBO",
    **ORIGIN,
}


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            {
                "settings": {"recognised": 0.8},
                "measures": {"recognised_after": 0.5},
                "epochs": [{"validation": {"recognised_after": 0.75}}, {"validation": {"recognised_after": 0.5}}],
            },
            {
                "learned": Learned(
                    "learned",
                    {"recognized": 0.8},
                    9,
                    ({"validation": {"recognized_after": 0.75}}, {"validation": {"recognized_after": 0.5}}),
                    {},
                    31.25,
                ),
                "details": {"pairs": "data:image/png;base64,iVBO"},
            },
        ),
        (
            {"settings": {"probability": 1.0}, "measures": {"distance": 0.5}, "search_cpu_s": None},
            {
                "details": {
                    "pairs": "data:image/png;base64,iVBO",
                    "settings": {"probability": 1.0},
                    "measures": {"distance": 0.5},
                }
            },
        ),
    ],
)
def test_a_line_of_version_1_of_learned_augmentation_has_what_was_learned(tmp_path, extra, expected):
    test = {"test": {"accuracy": 0.25}}
    assert migrated(tmp_path, ARM | extra) == dataclasses.replace(
        NEW,
        recipe="every image, recognized 0.8",
        held_out=("test",),
        images={"train": 9, "validation": 1, "test/test": 2},
        epochs=(Epoch(None, {"accuracy": 0.5}, test),),
        test=test,
        study="CIFAR-10",
        **expected,
    )


def test_a_summary_of_version_1_counts_its_differences(tmp_path):
    mean = {"mean": 0.5, "sd": 0.1, "n": 3, "ci95": [0.25, 0.75]}
    row = {"domains": {"art": mean}, "average": mean, "vs_erm": {"mean": 0.0, "ci95": None}}
    old = {
        "data": "pacs",
        "selection": "last",
        "metric": "accuracy",
        "seeds": [0, 1, 2],
        "recipes": {"erm": row, "subcentre_arcface": {**row, "vs_erm": None}},
        "recommended": "subcentre_arcface",
        "reason": "it is better",
    }
    write_json(tmp_path / "summary.json", old)
    half = Estimate(0.5, 0.1, 3, (0.25, 0.75))
    assert read_summary(tmp_path / "summary.json") == Summary(
        "pacs",
        "last",
        "accuracy",
        (0, 1, 2),
        {
            "erm": SummaryRow({"art": half}, half, Estimate(0.0, None, 3, None)),
            "subcenter_arcface": SummaryRow({"art": half}, half, None),
        },
        "subcenter_arcface",
        "it is better",
    )


def test_what_has_the_schema_of_today_is_left_as_it_is():
    line = dataclasses.asdict(RECORD)
    assert migrate(line) is line


LINE = json.loads(canonical_json(dataclasses.asdict(RECORD)))


def test_a_record_is_written_with_all_fields_of_all_dataclasses_in_it():
    for value in (RECORD, SUMMARY):
        assert canonical_json(encode(value)) == canonical_json(dataclasses.asdict(value))
    assert decode(type(SUMMARY), json.loads(json.dumps(encode(SUMMARY))), "here:") == SUMMARY


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], r"expected an object, got \[\]"),
        ("text", "expected an object, got 'text'"),
        ({}, "lacks run, recipe, seed"),
        ({name: value for name, value in LINE.items() if name != "split_hash"}, "lacks split_hash"),
        (LINE | {"split": 1, "extra": 2}, "unknown fields: extra, split"),
        (LINE | {"seed": "0"}, "seed must be a whole number, got '0'"),
        (LINE | {"seed": True}, "seed must be a whole number, got True"),
        (LINE | {"held_out": "art"}, "held_out must be a list, got 'art'"),
        (LINE | {"held_out": ["art", 1]}, r"held_out\[1\] must be text, got 1"),
        (LINE | {"images": {"train": 0.5}}, r"images\.train must be a whole number, got 0\.5"),
        (LINE | {"duration_s": None}, "duration_s must be a number, got None"),
        (LINE | {"epochs": [[]]}, r"epochs\[0\] must be an object, got \[\]"),
        (LINE | {"epochs": [{"train_loss": 1.0, "test": {}}]}, r"epochs\[0\] lacks validation"),
        (LINE | {"test": {"art": {"accuracy": "high"}}}, r"test\.art\.accuracy must be a number, got 'high'"),
        (LINE | {"selection": {"rule": "last", "epoch": 1, "why": ""}}, "selection has unknown fields: why"),
        (LINE | {"schema": 3}, "has schema 3; this version of afield reads schemas 1 to 2"),
        ({"schema": 1, "test": {}}, "not a record of schema 1"),
        ({"validation_accuracy": 0.5, "config": []}, "not a record of schema 1"),
    ],
)
def test_what_is_no_record_is_an_error_that_names_file_line_and_field(tmp_path, line, message):
    write_jsonl(tmp_path / "records.jsonl", [LINE, line])
    with pytest.raises(InputError, match=rf"records\.jsonl, line 2:? ?.*{message}"):
        read_records(tmp_path)


def test_an_estimate_has_two_ends_or_none(tmp_path):
    summary = dataclasses.asdict(SUMMARY)
    summary["recipes"]["erm"]["average"]["ci95"] = [0.1]
    write_json(tmp_path / "summary.json", summary)
    with pytest.raises(
        InputError, match=r"summary\.json: recipes\.erm\.average\.ci95 must be a list of length 2, got \[0\.1\]"
    ):
        read_summary(tmp_path / "summary.json")


RUNS = sorted(path.parent.name for name in ("pacs-*", "reproduce-*") for path in RESULTS.glob(f"{name}/records.jsonl"))


@pytest.mark.parametrize("folder", RUNS)
def test_every_committed_record_loads_and_comes_back_the_same(folder, tmp_path):
    lines, records = read_jsonl(RESULTS / folder / "records.jsonl"), read_records(RESULTS / folder)
    assert [(r.run, r.seed, r.commit, r.duration_s) for r in records] == [
        (line["run"], line["seed"], line["commit"], line["duration_s"]) for line in lines
    ]
    for record, line in zip(records, lines, strict=True):
        test = line["test"] if "study" in line else {record.unseen: line["test"]}
        assert record.test == test
        early = "study" in line and "schema" not in line  # such lines have the selected epoch only
        assert len(record.epochs) == (1 if early else len(line["epochs"]))
    write_records(tmp_path / "records.jsonl", records)
    assert read_records(tmp_path) == records


@pytest.mark.parametrize("folder", [name for name in RUNS if name.startswith("pacs-")])
def test_every_committed_summary_of_a_comparison_loads(folder):
    old, summary = read_json(RESULTS / folder / "summary.json"), read_summary(RESULTS / folder / "summary.json")
    assert list(summary.recipes) == list(old["recipes"])
    for name, row in summary.recipes.items():
        assert [each.mean for each in row.domains.values()] == [
            each["mean"] for each in old["recipes"][name]["domains"].values()
        ]
        assert row.average.ci95 == tuple(old["recipes"][name]["average"]["ci95"])


def test_committed_runs_are_all_there():
    assert len(RUNS) == 10


def test_records_can_be_read_as_the_dictionaries_that_they_were():
    epoch = Epoch(0.5, {"accuracy": 0.75}, {})
    with pytest.warns(DeprecationWarning, match=r"\['validation'\] is deprecated; use \.validation"):
        assert epoch["validation"]["accuracy"] == 0.75
    with pytest.warns(DeprecationWarning, match=r"use \.train_loss"):
        assert (epoch.get("train_loss"), epoch.get("loss", 7)) == (0.5, 7)
    with pytest.warns(DeprecationWarning, match="use .accuracy"), pytest.raises(KeyError):
        epoch["accuracy"]


def test_a_record_is_a_dictionary_of_its_fields_also_after_a_copy():
    epoch = Epoch(0.5, {"accuracy": 0.75}, {})
    expected = {"train_loss": 0.5, "validation": {"accuracy": 0.75}, "test": {}, "train_terms": {}}
    record = made_record(epochs=(epoch,))
    for found in (epoch, pickle.loads(pickle.dumps(epoch)), copy.deepcopy(epoch), dataclasses.replace(epoch)):
        assert isinstance(found, dict)
        assert (found == epoch, found == expected, len(found)) == (True, True, 4)
        assert (
            json.loads(json.dumps(found)) == dict(**found) == dict(zip(found, found.values(), strict=True)) == expected
        )
        assert ("validation" in found, "accuracy" in found) == (True, False)
    assert json.loads(json.dumps(record)) == json.loads(json.dumps(dataclasses.asdict(record)))
    assert dataclasses.replace(epoch, train_loss=0.25) == {**expected, "train_loss": 0.25}
