"""Tables of images: the same rules as folders, columns by name, missing and doubled rows, and the formats."""

import csv
import json
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from afield.data import load
from afield.errors import InputError

ROWS = [
    {"path": "night/cat/a.png", "label": "cat", "domain": "night", "group": "s1"},
    {"path": "night/cat/b.png", "label": "cat", "domain": "night", "group": "s1"},
    {"path": "night/dog/a b.png", "label": "dog", "domain": "night", "group": "s2"},
    {"path": "süd/cat/ä.png", "label": "cat", "domain": "süd", "group": "s3"},
    {"path": "süd/dog/a.png", "label": "dog", "domain": "süd", "group": ""},
]


@pytest.fixture
def folder(tmp_path):
    for i, row in enumerate(ROWS):
        path = tmp_path / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8), (i, 10 * i, 255 - i)).save(path)
    return tmp_path


def write(path, rows, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_as(kind, folder, rows=ROWS):
    path = folder / f"images{kind}"
    if kind == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif kind == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == ".json":
        images = [
            {"id": i, "file_name": row["path"], "domain": row["domain"], "group": row["group"]}
            for i, row in enumerate(rows)
        ]
        animals = {"cat": 7, "dog": 3}
        content = {
            "images": [*images, {"id": 99, "file_name": "not annotated.png"}],
            "annotations": [{"image_id": i, "category_id": animals[row["label"]]} for i, row in enumerate(rows)] * 2,
            "categories": [{"id": number, "name": name} for name, number in animals.items()],
        }
        path.write_text(json.dumps(content))
    else:
        write(path, rows, *{".tsv": "\t", ".csv": ",", " excel.csv": ";"}[kind], encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", [".csv", " excel.csv", ".tsv", ".jsonl", ".parquet", ".json"])
def test_every_format_gives_the_same_images_classes_domains_and_groups(folder, kind):
    data = load(str(write_as(kind, folder)), image_size=8)
    assert data.paths == tuple(row["path"] for row in ROWS)
    assert data.images[:, 4, 4, 0].tolist() == [0, 1, 2, 3, 4]
    assert (data.class_names, data.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 0, 1])
    assert (data.domain_names, data.domains.tolist()) == (("night", "süd"), [0, 0, 0, 1, 1])
    assert len(set(data.groups.tolist())) == 4
    assert data.groups[0] == data.groups[1]
    assert data.given.tolist() == [-1] * 5
    assert data.weights is None
    assert "4 groups of images that stay together; the largest has 2" in data.describe()


def test_a_table_of_a_folder_is_the_same_data_as_the_folder(folder):
    table = load(str(write(folder / "t.csv", [{k: row[k] for k in ("path", "label", "domain")} for row in ROWS])))
    (folder / "t.csv").unlink()
    assert load(str(folder)).fingerprint == table.fingerprint


def test_the_order_of_the_rows_changes_nothing(folder):
    tables = [load(str(write(folder / "t.csv", rows)), image_size=8) for rows in (ROWS, ROWS[::-1])]
    assert tables[0].fingerprint == tables[1].fingerprint


def test_groups_and_weights_are_part_of_the_fingerprint(folder):
    plain = [{k: row[k] for k in ("path", "label", "domain")} for row in ROWS]
    kinds = [plain, [{**row, "weight": i} for i, row in enumerate(plain)], ROWS]
    assert len({load(str(write(folder / "t.csv", rows)), image_size=8).fingerprint for rows in kinds}) == 3


def test_columns_have_names_of_their_own_and_the_images_lie_elsewhere(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("tables")
    rows = [
        {"File Name": r["path"], "y": r["label"], "site": r["domain"], "label": "no", "seq": r["group"]} for r in ROWS
    ]
    table = write(other / "meta.csv", rows)
    columns = ("path=File Name", "label=y")
    data = load(str(table), root=folder, columns=columns, domain_from="site", group="seq", image_size=8)
    assert data.class_names == ("cat", "dog")
    assert data.domain_names == ("night", "süd")
    assert data.groups[0] == data.groups[1]
    with pytest.raises(InputError, match=r"5 of 5 images do not exist in .*tables.*, such as night/cat/a.png"):
        load(str(table), columns=columns)


def test_a_path_can_be_a_template_of_columns(folder):
    rows = [
        {"dir": r["path"].rpartition("/")[0], "stem": r["path"].rpartition("/")[2][:-4], "label": r["label"]}
        for r in ROWS
    ]
    data = load(str(write(folder / "t.csv", rows)), columns=["path={dir}/{stem}.png"], image_size=8)
    assert data.paths == tuple(row["path"] for row in ROWS)
    assert not data.has_domains
    with pytest.raises(InputError, match=r"template \{folder\}/\{stem\} does not fit its columns dir, stem, label"):
        load(str(folder / "t.csv"), columns=["path={folder}/{stem}"])


def test_names_of_files_are_found_in_either_form_of_an_umlaut(folder):
    decomposed = unicodedata.normalize("NFD", "süd")
    (folder / "süd").rename(folder / decomposed)
    data = load(str(write(folder / "t.csv", [r for r in ROWS if "ä" not in r["path"]])), image_size=8)
    assert data.paths[-1] == f"{decomposed}/dog/a.png"
    assert data.domain_names == ("night", "süd")


def test_numbers_are_classes_in_numeric_order(folder):
    rows = [{**row, "label": {"cat": 10, "dog": 9}[row["label"]]} for row in ROWS]
    data = load(str(write(folder / "t.csv", rows)), image_size=8)
    assert (data.class_names, data.labels.tolist()) == (("9", "10"), [1, 1, 0, 1, 0])


def test_splits_and_weights_are_read(folder):
    rows = [
        {**row, "split": split, "weight": weight}
        for row, split, weight in zip(
            ROWS, ["Train", "valid", "test", "", "test"], ["2", "", "0.5", "0", "1"], strict=True
        )
    ]
    data = load(str(write(folder / "t.csv", rows)), image_size=8)
    assert data.given.tolist() == [0, 1, 2, -1, 2]
    assert data.weights.tolist() == [2, 1, 0.5, 0, 1]
    ignored = load(str(folder / "t.csv"), image_size=8, columns=["split=", "weight="])
    assert set(ignored.given.tolist()) == {-1}
    assert ignored.weights is None


def test_missing_images_are_named_in_one_sentence_or_skipped(folder):
    table = write(folder / "t.csv", [*ROWS, {**ROWS[0], "path": "gone.png"}])
    with pytest.raises(
        InputError, match=r"t\.csv: 1 of 6 images do not exist in .*, such as gone\.png; give their folder"
    ):
        load(str(table))
    data = load(str(table), on_bad_image="skip", image_size=8)
    assert len(data) == 5
    assert data.skipped == (("gone.png", "the file is missing (No such file or directory)"),)
    assert len(data.groups) == 5


def test_doubled_rows_are_named_in_one_sentence_or_skipped(folder):
    table = write(folder / "t.csv", [*ROWS, ROWS[0], {**ROWS[2], "label": "cat"}])
    with pytest.raises(
        InputError,
        match=r"2 images have more than one row, such as night/cat/a\.png \(rows 1 and 6\); --on-bad-image skip",
    ):
        load(str(table))
    data = load(str(table), on_bad_image="skip", image_size=8)
    assert data.paths == tuple(row["path"] for i, row in enumerate(ROWS) if i != 2)
    assert data.notes == ("ignored 1 images with different rows, such as night/dog/a b.png",)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"label": ""}, {}, "row 1 has no label"),
        ({"path": " "}, {}, "row 1 has no path"),
        ({"domain": ""}, {}, "row 1 has no domain"),
        ({"split": "id_val"}, {}, r"unknown split in .*t\.csv \(`--columns split=` ignores the column\): 'id_val'"),
        ({"weight": "-1"}, {}, "a weight must be a number of at least 0, got '-1'"),
        ({"weight": "inf"}, {}, "a weight must be a number of at least 0, got 'inf'"),
        ({"weight": "much"}, {}, "a weight must be a number of at least 0, got 'much'"),
        ({"domain": "a\x1b"}, {}, r"a name must not contain the character U\+001B"),
        ({}, {"columns": ["label=labell"]}, r"unknown column of .*t\.csv: 'labell'; did you mean 'label'"),
        ({}, {"columns": ["labl=label"]}, "unknown column in --columns: 'labl'; did you mean 'label'"),
        ({}, {"columns": ["species"]}, "--columns species: expected NAME=COLUMN, such as label=species"),
        ({}, {"layout": "class"}, "--layout is for folders"),
        ({}, {"group": "seq"}, "--group seq: neither a column of a table nor a pattern with parentheses"),
        ({}, {"domain_from": "("}, r"--domain-from \(: not a regular expression"),
        ({}, {"group": "(süd)"}, r"--group \(süd\): does not match 3 of 5 paths, such as night/cat/a\.png"),
        ({}, {"group": "near-duplicates", "image_size": 16}, "needs images of 32 pixels or more"),
    ],
)
def test_a_mistake_in_a_table_or_an_option_is_named(folder, change, options, message):
    rows = [{"split": "", "weight": "", **row} for row in ROWS]
    table = write(folder / "t.csv", [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(InputError, match=message):
        load(str(table), **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"\xff\xfe\x00"),
        ("t.jsonl", b"[1, 2]"),
        ("t.jsonl", b"{"),
        ("t.json", b"{}"),
        ("t.json", b'{"images": [1], "annotations": [], "categories": []}'),
        ("t.parquet", b"PAR1"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(tmp_path, name, content):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"cannot read .*{name} as a table of images|has no rows"):
        load(str(tmp_path / name))


def test_cells_with_line_breaks_and_separators_of_unicode_are_one_cell(folder):
    rows = [{**row, "note": "one\u2028two\nthree, four\x85"} for row in ROWS]
    for kind in (".csv", ".jsonl"):
        assert len(load(str(write_as(kind, folder, rows)), image_size=8)) == 5


def test_a_folder_in_the_place_of_an_image_is_missing(folder):
    table = write(folder / "t.csv", [*ROWS, {**ROWS[0], "path": "night/cat"}])
    with pytest.raises(InputError, match=r"1 of 6 images do not exist in .*, such as night/cat;"):
        load(str(table))
    assert load(str(table), on_bad_image="skip", image_size=8).skipped[0][0] == "night/cat"


@pytest.mark.parametrize("content", ["", "path,label\n"])
def test_a_table_without_rows_is_an_error(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match="has no rows"):
        load(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("options", [{"root": "x"}, {"columns": ["label=y"]}])
def test_options_of_tables_are_refused_for_other_data(folder, options):
    with pytest.raises(InputError, match="is for tables of images"):
        load(str(folder), **options)


def test_a_pattern_gives_folders_their_domains_and_groups(tmp_path):
    for i, name in enumerate(("cat/S1_001_1", "cat/S1_001_2", "cat/S2_001_1", "dog/S1_002_1", "dog/S2_002_1")):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(path)
    data = load(str(tmp_path / "set"), domain_from="/(S[0-9]+)_", group="(S[0-9]+_[0-9]+)_", image_size=8)
    assert (data.domain_names, data.domains.tolist()) == (("S1", "S2"), [0, 0, 1, 0, 1])
    assert data.class_names == ("cat", "dog")
    assert (data.groups[0] == data.groups[1], len(set(data.groups.tolist()))) == (True, 4)


@pytest.mark.parametrize("names", [("cam 1", "cam 2"), ("Site_a", "Site_b", "site-c"), ("Hospital1", "hospital 22")])
def test_folders_that_are_named_like_places_are_asked_about(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    with pytest.raises(
        InputError, match=rf"are {', '.join(sorted(names))} classes or places\? For classes, add --layout"
    ):
        load(str(tmp_path))
    assert load(str(tmp_path), layout="class", image_size=8).class_names == tuple(sorted(names))


@pytest.mark.parametrize(
    "names", [("cat", "dog"), ("0", "1"), ("class 1", "class 2"), ("site 1", "cat"), ("n0144", "n0153")]
)
def test_folders_that_are_named_like_classes_are_not(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    assert len(load(str(tmp_path), image_size=8).class_names) == 2


def test_the_second_load_of_a_table_decodes_nothing(folder, monkeypatch):
    table = write(folder / "t.csv", ROWS)
    first = load(str(table), image_size=8)
    monkeypatch.setattr("afield.data.cache.decode_square", None)
    assert np.array_equal(load(str(table), image_size=8).images, first.images)
    shutil.copy(folder / ROWS[0]["path"], folder / ROWS[1]["path"])
    with pytest.raises(TypeError):
        load(str(table), image_size=8)


def test_a_table_without_a_needed_column_says_how_to_name_it(folder):
    table = write(folder / "t.csv", [{"file": row["path"], "label": row["label"]} for row in ROWS])
    with pytest.raises(
        InputError, match=r"t\.csv has no column 'path' but file, label; name it with --columns path=COL"
    ):
        load(str(table))
    assert len(load(str(table), columns=["path=file"], image_size=8)) == 5
