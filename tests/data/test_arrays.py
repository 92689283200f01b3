"""Arrays in an .npz: the shapes that are read, and what is wrong with the others."""

import io

import numpy as np
import pytest

from afield.data import Validation, load, make_fold, parts_of
from afield.errors import InputError


def content(**changes):
    """Five training and three test images of 6 x 4 pixels, with some keys changed; None takes a key away."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8),
        "train_labels": np.array([0, 1, 2, 0, 1]),
        "test_images": rng.integers(0, 256, (3, 6, 4, 3), dtype=np.uint8),
        "test_labels": np.array([2, 0, 1]),
        **changes,
    }
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.fixture
def loaded(tmp_path):
    """Write arrays and load them."""

    def load_arrays(**changes):
        np.savez(tmp_path / "set.npz", **content(**changes))
        return load(str(tmp_path / "set.npz"))

    return load_arrays


def test_training_comes_before_test_and_each_image_knows_its_split(loaded):
    data, arrays = loaded(), content()
    assert (data.images == np.concatenate([arrays["train_images"], arrays["test_images"]])).all()
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert data.given.tolist() == [0] * 5 + [2] * 3
    assert data.paths[:2] + data.paths[5:6] == ("train/0", "train/1", "test/0")
    assert data.class_names == ("0", "1", "2")
    assert (data.domain_names, data.has_domains) == (("set",), False)


@pytest.mark.parametrize("shape", [(5, 6, 4), (5, 6, 4, 1)])
def test_gray_images_become_rgb(loaded, shape):
    gray = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    data = loaded(train_images=gray)
    for channel in range(3):
        assert (data.images[:5, :, :, channel] == gray.reshape(5, 6, 4)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_labels_are_whole_numbers_of_any_width_in_a_row_or_a_column(loaded, dtype, shape):
    data = loaded(train_labels=np.array([0, 1, 2, 0, 1], dtype=dtype).reshape(shape))
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert data.labels.dtype == np.int64


def test_class_names_are_taken_from_the_file(loaded):
    assert loaded(class_names=np.array(["ant", "bee", "cow"])).class_names == ("ant", "bee", "cow")


def test_class_names_saved_as_objects_are_an_input_error(loaded):
    with pytest.raises(InputError, match=r"set\.npz"):
        loaded(class_names=np.array(["ant", "bee", "cow"], dtype=object))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "lacks test_labels; it has train_images, train_labels, test_images"),
        ({"train_images": None, "train_labels": None}, "lacks train_images, train_labels"),
        ({"train_images": np.zeros((5, 6, 4, 3))}, r"train_images must be uint8 .* got float64 \(5, 6, 4, 3\)"),
        ({"train_images": np.zeros((5, 6, 4, 2), np.uint8)}, r"train_images must be .*\(5, 6, 4, 2\)"),
        ({"test_images": np.zeros((3, 24), np.uint8)}, r"test_images must be .*\(3, 24\)"),
        ({"test_images": np.zeros((3, 6, 5, 3), np.uint8)}, "all splits must have the same image size"),
        ({"train_labels": np.array([0, 1, 2, 0])}, r"train_labels must be 5 integers, .* got int64 \(4,\)"),
        ({"train_labels": np.zeros((5, 3), int)}, r"train_labels must be 5 integers, .*\(5, 3\)"),
        ({"train_labels": np.zeros(5)}, "train_labels must be 5 integers, .* got float64"),
        ({"test_labels": np.array([0, -1, 1])}, "label -1 is negative"),
        ({"train_labels": np.zeros(5, int), "test_labels": np.zeros(3, int)}, "single class"),
        ({"class_names": np.array(["ant", "bee"])}, r"label 2 has no name; there are 2 class names"),
    ],
)
def test_what_does_not_fit_is_an_input_error_that_says_what(loaded, changes, message):
    with pytest.raises(InputError, match=message):
        loaded(**changes)


def one_array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"no arrays here",
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: one_array(),
    ],
    ids=["text", "empty", "cut", "a single array"],
)
def test_a_file_that_is_no_npz_is_an_input_error(tmp_path, damage):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **content())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"set\.npz"):
        load(str(path))


def test_a_damaged_array_inside_is_an_input_error(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **content())
    whole = bytearray(path.read_bytes())
    place = whole.index(content()["train_images"].tobytes())
    whole[place] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"set\.npz"):
        load(str(path))


def test_a_given_validation_set_is_honored(loaded):
    rng = np.random.default_rng(2)
    val = rng.integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    data = loaded(val_images=val, val_labels=np.array([1, 2]))
    assert data.given.tolist() == [0] * 5 + [1] * 2 + [2] * 3
    assert parts_of(data) == ("test",)
    fold = make_fold(data, ["test"], Validation(fraction=0.5), seed=3)
    assert fold.train.tolist() == [0, 1, 2, 3, 4]
    assert (data.images[fold.val] == val).all()
    assert fold.tests["test"].tolist() == [7, 8, 9]
    assert "val (given): 2" in data.describe()


def test_equal_arrays_have_equal_fingerprints_wherever_they_lie(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "set.npz", **content())
    np.savez(tmp_path / "set.npz", **content(test_labels=np.array([2, 1, 1])))
    first, second = (load(str(tmp_path / folder / "set.npz")) for folder in ("one", "two"))
    assert first.fingerprint == second.fingerprint
    assert load(str(tmp_path / "set.npz")).fingerprint != first.fingerprint


def test_validation_images_without_labels_are_an_input_error(loaded):
    with pytest.raises(InputError, match="lacks val_labels"):
        loaded(val_images=np.zeros((2, 6, 4, 3), dtype=np.uint8))


def test_labels_that_never_occur_are_no_classes(loaded):
    data = loaded(train_labels=np.array([7, 2**40, 7, 7, 7]), test_labels=np.array([7, 7, 2**40]))
    assert data.class_names == ("7", str(2**40))
    assert data.labels.tolist() == [0, 1, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.array([0, 2**64 - 1, 0, 1, 2], np.uint64)}, f"train_labels has the label {2**64 - 1}"),
        ({"class_names": np.array("abc")}, r"class_names must be strings \[K\]; got <U3 \(\)"),
        ({"class_names": np.array([1, 2, 3])}, "class_names must be strings"),
        ({"class_names": np.array(["a", "b\x1b[31m", "c"])}, r"U\+001B"),
        ({"class_names": np.array(["a", "", "c"])}, "a class has an empty name"),
        ({"class_names": np.array(["a", "b", "a"])}, "two classes have the name 'a'"),
    ],
)
def test_labels_and_names_of_the_wrong_kind_are_refused(loaded, changes, message):
    with pytest.raises(InputError, match=message):
        loaded(**changes)
