"""Shards and data sets of the Hugging Face library, written here: every image with its class, domain and split."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from afield.data import load
from afield.errors import InputError


def png(shade, size=8):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 100, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, *files):
    """A tar of (name, content)."""
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def example(key, shade, label, **others):
    extra = [(f"{key}.{extension}", text.encode()) for extension, text in others.items()]
    return [(f"{key}.png", png(shade)), (f"{key}.cls", str(label).encode()), *extra]


def red(data):
    return data.images[:, 4, 4, 0].tolist()


def test_shards_give_their_images_in_order_with_numbered_classes(tmp_path):
    shard(tmp_path / "set-000.tar", *example("a/0", 10, 0), *example("a/1", 20, 2))
    shard(tmp_path / "set-001.tar", *example("b/0", 30, 1, json="{}"))
    for name in (tmp_path, tmp_path / "set-{000..001}.tar"):
        data = load(str(name), image_size=8)
        assert (red(data), data.labels.tolist()) == ([10, 20, 30], [0, 2, 1])
        assert data.class_names == ("0", "1", "2")
        assert data.paths == ("set-000.tar/a/0.png", "set-000.tar/a/1.png", "set-001.tar/b/0.png")
        assert (data.has_domains, data.given.tolist()) == (False, [-1, -1, -1])
    assert len(load(str(tmp_path / "set-000.tar"), image_size=8)) == 2


def test_shards_may_name_classes_domains_and_splits(tmp_path):
    shard(
        tmp_path / "x-train-0.tar",
        *example("0", 10, "owl", domain="night"),
        *example("1", 20, "cat", domain="day"),
        ("readme.txt", b"of no use"),
    )
    shard(tmp_path / "x-test-0.tar", *example("0", 30, "cat", domain="night"))
    data = load(str(tmp_path), image_size=8)  # by name: test before train
    assert (red(data), data.class_names, data.domain_names) == ([30, 10, 20], ("cat", "owl"), ("day", "night"))
    assert (data.labels.tolist(), data.domains.tolist(), data.given.tolist()) == ([0, 1, 0], [1, 1, 0], [2, 0, 0])


def test_shards_are_decoded_once_until_they_change(tmp_path, monkeypatch):
    path = shard(tmp_path / "a.tar", *example("0", 10, 0), *example("1", 20, 1))
    first = load(str(path), image_size=8)
    with monkeypatch.context() as patch:
        patch.setattr("afield.data.cache.decode_square", None)
        assert load(str(path), image_size=8).fingerprint == first.fingerprint
    shard(path, *example("0", 11, 0), *example("1", 20, 1))
    assert red(load(str(path), image_size=8)) == [11, 20]


def test_bad_images_in_shards_are_named_or_passed_over(tmp_path):
    bad = [("1.png", b"no image"), ("1.cls", b"1")]
    path = str(shard(tmp_path / "a.tar", *example("0", 10, 0), *bad, *example("2", 30, 2)))
    with pytest.raises(InputError, match=r"1 bad image in .*a\.tar \(a\.tar/1\.png: not an image\)"):
        load(path, image_size=8)
    data = load(path, image_size=8, on_bad_image="skip")
    assert (red(data), data.labels.tolist(), data.skipped) == ([10, 30], [0, 2], (("a.tar/1.png", "not an image"),))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("0.png", png(1))], r"a\.tar/0\.png has no class: 0\.cls is missing"),
        (example("0", 1, 0) + example("1", 2, 0), "has a single class"),
        (example("0", 1, 0) + example("1", 2, "owl"), "some labels are numbers and others are names"),
        (example("0", 1, 0, domain="day") + example("1", 2, 1), r"1\.png has no domain, but other images have"),
        ([("notes.txt", b"")], "has no classes"),
    ],
)
def test_shards_that_do_not_fit_are_an_input_error_that_says_what(tmp_path, files, message):
    path = shard(tmp_path / "a.tar", *files)
    with pytest.raises(InputError, match=message):
        load(str(path), image_size=8)


def test_a_shard_that_is_missing_or_damaged_is_named(tmp_path):
    whole = shard(tmp_path / "a-0.tar", *example("0", 10, 0), *example("1", 20, 1))
    with pytest.raises(InputError, match=r"no such file: .*a-1\.tar"):
        load(str(tmp_path / "a-{0..2}.tar"))
    with pytest.raises(InputError, match="braces must contain a range"):
        load(str(tmp_path / "a-{0,2}.tar"))
    whole.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(InputError, match=r"cannot read .*a-0\.tar as a \.tar file"):
        load(str(whole))


@pytest.mark.parametrize(
    "names", [("input.png", "cls"), ("png", "mask.png", "cls"), ("1.png", "1.cls"), ("v2.cls", "v2.png")]
)
def test_a_key_ends_at_the_first_dot_or_where_the_class_is(tmp_path, names):
    files = [
        (f"d.1/{i}.{n}", str(i % 2).encode() if n.endswith("cls") else png(10 * i)) for i in range(4) for n in names
    ]
    data = load(str(shard(tmp_path / "a.tar", *files)), image_size=8)
    assert (red(data), data.labels.tolist()) == ([0, 10, 20, 30], [0, 1, 0, 1])


def test_examples_that_differ_after_the_first_dot_alone_are_examples_of_their_own(tmp_path):
    files = [file for i in range(4) for file in example(f"photo.{i}", 10 * i, i % 2)]
    assert red(load(str(shard(tmp_path / "a.tar", *files)), image_size=8)) == [0, 10, 20, 30]


def test_a_shard_that_was_cut_between_two_examples_is_refused(tmp_path):
    path = shard(tmp_path / "a.tar", *[file for i in range(4) for file in example(str(i), 10 * i, i % 2)])
    with tarfile.open(path) as archive:
        start = archive.getmember("2.png").offset
    path.write_bytes(path.read_bytes()[:start])
    with pytest.raises(InputError, match=r"cannot read .*a\.tar .*cut off"):
        load(str(path), image_size=8)


def test_shards_know_all_words_for_splits_and_a_shard_without_one_is_refused(tmp_path):
    shard(tmp_path / "training-0.tar", *example("0", 10, 0), *example("1", 20, 1))
    shard(tmp_path / "validation-0.tar", *example("0", 30, 0))
    assert load(str(tmp_path), image_size=8).given.tolist() == [0, 0, 1]
    shard(tmp_path / "extra-0.tar", *example("0", 40, 0))
    with pytest.raises(InputError, match=r"extra-0\.tar is not; rename it"):
        load(str(tmp_path), image_size=8)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("1" * 5000, "got 5,000"),
        ("1" * 70_000, "70,000 bytes; at most 65,536"),
        ("a\nb", r"'a\\nb': a name must not contain the character U\+000A"),
        ("", "a class has an empty name"),
    ],
)
def test_classes_that_cannot_be_shown_are_refused(tmp_path, label, message):
    path = shard(tmp_path / "a.tar", *example("0", 10, label), *example("1", 20, "owl"))
    with pytest.raises(InputError, match=message):
        load(str(path), image_size=8)


def test_a_tar_beside_class_folders_is_no_shard_and_junk_is_ignored(tmp_path):
    for name, shade in (("cat", 10), ("owl", 20)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(shade))
    shard(tmp_path / "old.tar", *example("0", 30, 0))
    assert red(load(str(tmp_path), image_size=8)) == [10, 20]
    junk = [("__MACOSX/0.png", png(1)), ("._0.png", png(1)), ("@eaDir/x.png", png(1))]
    path = shard(tmp_path / "old.tar", *junk, *example("0", 30, 0), *example("1", 40, 5))
    data = load(str(path), image_size=8)
    assert (red(data), data.class_names) == ([30, 40], ("0", "5"))


@pytest.fixture
def saved(tmp_path):
    """Write a data set of the library with these splits: split -> (shade, class, domain) of each image."""
    datasets = pytest.importorskip("datasets")

    def save(**splits):
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "domain": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["cat", "owl"]),
            }
        )

        def rows(examples):
            return {
                "image": [{"bytes": png(shade), "path": None} for shade, _, _ in examples],
                "domain": [domain for _, _, domain in examples],
                "label": [label for _, label, _ in examples],
            }

        parts = {name: datasets.Dataset.from_dict(rows(part), features) for name, part in splits.items()}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
        return f"hf:{tmp_path / 'saved'}"

    return save


def test_a_data_set_of_the_hugging_face_library_keeps_classes_domains_and_splits(saved, monkeypatch):
    name = saved(train=[(10, 1, "day"), (20, 0, "night")], test=[(30, 1, "night")])
    data = load(name, image_size=8)
    assert (red(data), data.class_names, data.domain_names) == ([10, 20, 30], ("cat", "owl"), ("day", "night"))
    assert (data.labels.tolist(), data.domains.tolist(), data.given.tolist()) == ([1, 0, 1], [0, 1, 1], [0, 0, 2])
    assert data.paths == ("train/0", "train/1", "test/0")
    monkeypatch.setattr("afield.data.cache.decode_square", None)
    assert np.array_equal(load(name, image_size=8).images, data.images)


def test_a_single_split_is_no_given_split(saved):
    assert load(saved(train=[(10, 1, "day"), (20, 0, "night")]), image_size=8).given.tolist() == [-1, -1]


def test_without_the_library_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'afield\[hub\]'"):
        load("hf:some/set")


def save_columns(folder, features, **columns):
    datasets = pytest.importorskip("datasets")
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "owl"]), **features(datasets)}
    images = [None if shade is None else {"bytes": png(shade), "path": None} for shade in columns["image"]]
    datasets.Dataset.from_dict({**columns, "image": images}, datasets.Features(kinds)).save_to_disk(folder)
    return f"hf:{folder}"


def test_columns_of_numbers_and_missing_values(tmp_path):
    numbers = save_columns(
        tmp_path / "n", lambda d: {"domain": d.Value("int64")}, image=[10, 20], label=[0, 1], domain=[7, 0]
    )
    assert load(numbers, image_size=8).domain_names == ("0", "7")
    texts = {"image": [10, 20], "label": [0, 1], "domain": ["day", None]}
    with pytest.raises(InputError, match="train/1 has no domain, but other images have"):
        load(save_columns(tmp_path / "d", lambda d: {"domain": d.Value("string")}, **texts), image_size=8)
    missing = save_columns(tmp_path / "i", lambda d: {}, image=[10, None, 30], label=[0, 1, 1])
    data = load(missing, image_size=8, on_bad_image="skip")
    assert (red(data), data.skipped) == ([10, 30], (("train/1", "there is no image"),))
    with pytest.raises(InputError, match="train/1 has no label"):
        load(save_columns(tmp_path / "l", lambda d: {}, image=[10, 20], label=[0, None]), image_size=8)


def test_a_split_of_an_unknown_name_beside_a_test_split_is_refused(saved):
    with pytest.raises(InputError, match="split extra is none of train"):
        load(saved(train=[(10, 1, "day")], test=[(20, 0, "day")], extra=[(30, 0, "day")]), image_size=8)
