"""Run hashes, seeds, files that are whole or absent, and the lock on a folder."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afield.errors import InputError
from afield.records import (
    canonical_json,
    exclusive,
    read_json,
    read_jsonl,
    run_hash,
    seed_for,
    write_atomic,
    write_json,
    write_jsonl,
)

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
    text = '[1,{"a":{"x":[1,2.5],"y":null},"b":"text"}]'
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
