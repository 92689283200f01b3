"""The label file, and its way to Label Studio and back."""

from __future__ import annotations

import json
import os

import pytest

from afield.errors import InputError
from afield.labeling.label_file import NONE_OF_THESE, Row, held, read_labels, write_labels
from afield.labeling.label_studio import read_annotations, write_tasks

NAMES = ("cat", "dog")
ROWS = [
    Row("a/1.png", "cat", "audit"),
    Row('with, comma and "quote".png', "", "chosen"),
    Row("möwe 100%.png", NONE_OF_THESE, "chosen"),
]


def test_rows_come_back_as_they_were_written(tmp_path):
    write_labels(tmp_path / "labels.csv", ROWS)
    assert (tmp_path / "labels.csv").read_text().splitlines()[:2] == ["path,label,purpose", "a/1.png,cat,audit"]
    assert read_labels(tmp_path / "labels.csv", NAMES) == ROWS


def test_a_file_from_a_spreadsheet_without_purpose_has_chosen_images(tmp_path):
    (tmp_path / "labels.csv").write_bytes("\ufeffpath,label\r\n1.png,dog\r\n".encode())
    assert read_labels(tmp_path / "labels.csv", NAMES) == [Row("1.png", "dog", "chosen")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,purpose\n1.png,audit\n", "there is no column 'label'"),
        ("path,label,purpose\n1.png,catt,audit\n", "unknown class of 1.png in .*: 'catt'; did you mean 'cat'"),
        ("path,label,purpose\n1.png,cat,adit\n", "unknown purpose of 1.png in .*'adit'; did you mean 'audit'"),
        ("path,label,purpose\n1.png,cat,audit\n1.png,dog,audit\n", "contains 1.png twice"),
        ("path,label,purpos\n1.png,cat,audit\n", "there is no column 'purpose'"),
        ("\xff", "no column 'path'"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "labels.csv", NAMES)


def test_no_file_and_a_binary_file_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the label file .*No such file"):
        read_labels(tmp_path / "no.csv", NAMES)
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="cannot read the label file"):
        read_labels(tmp_path / "binary.csv", NAMES)


def test_a_write_that_fails_leaves_the_file_before(tmp_path, monkeypatch):
    write_labels(tmp_path / "labels.csv", ROWS)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_labels(tmp_path / "labels.csv", [])
    assert read_labels(tmp_path / "labels.csv", NAMES) == ROWS
    assert os.listdir(tmp_path) == ["labels.csv"]


def test_one_process_holds_a_file(tmp_path):
    with held(tmp_path / "labels.csv"), pytest.raises(InputError, match="in use by another afield process"):
        held(tmp_path / "labels.csv").__enter__()
    with held(tmp_path / "labels.csv"):
        pass


def test_label_studio_and_back(tmp_path):
    write_tasks(tmp_path / "tasks.json", ROWS)
    first, second, _ = json.loads((tmp_path / "tasks.json").read_text())
    assert first["annotations"][0]["result"][0]["value"] == {"choices": ["cat"]}
    assert "annotations" not in second
    assert read_annotations(tmp_path / "tasks.json", (*NAMES, NONE_OF_THESE)) == ROWS


def test_an_export_of_tasks_from_elsewhere_names_images_by_their_address(tmp_path):
    def annotation(label, **more):
        return {"result": [{"type": "choices", "value": {"choices": [label]}}], **more}

    tasks = [
        {"data": {"image": "/data/local-files/?d=new%20site/1.png"}, "annotations": [annotation("cat")]},
        {"data": {"image": "/new/2.png"}, "annotations": [annotation("cat"), annotation("dog")]},
        {"data": {"image": "3.png"}, "annotations": [annotation("dog", was_cancelled=True)]},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert read_annotations(tmp_path / "export.json", NAMES) == [
        Row("new site/1.png", "cat", "chosen"),
        Row("new/2.png", "dog", "chosen"),
        Row("3.png", "", "chosen"),
    ]


@pytest.mark.parametrize("content", ['{"a": 1}', '[{"image": "1.png"}]', "[1]"])
def test_json_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(InputError, match="not a JSON export of Label Studio"):
        read_annotations(tmp_path / "export.json", NAMES)
