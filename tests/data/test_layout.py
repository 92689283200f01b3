"""Folders of real images: which layout is recognized, decoding once, bad files, and images in two places."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import afield.data.cache
from afield.data import load
from afield.data.cache import Reading, cache_root, load_listing
from afield.data.layout import list_folder
from afield.data.leaks import leaks
from afield.errors import InputError


def paint(path, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), color).save(path)


def grow(root, *files):
    """Make images of distinct colors at these places below `root`."""
    for i, file in enumerate(files):
        paint(root / file, (i, 10 * i % 256, 255 - i))
    return root


@pytest.fixture
def domains(tmp_path):
    """Two domains of two classes; the image at index i has i in its red channel."""
    return grow(
        tmp_path / "places",
        "night/cat/a.png",
        "night/cat/b.png",
        "night/dog/a.png",
        "sun/cat/a.png",
        "sun/dog/a.PNG",
        "sun/dog/deeper/b.bmp",
    )


def test_domains_of_classes_are_recognized(domains):
    listing = list_folder(domains)
    assert listing.layout == "domain/class"
    assert (listing.domain_names, listing.class_names) == (("night", "sun"), ("cat", "dog"))
    assert listing.paths == (
        "night/cat/a.png",
        "night/cat/b.png",
        "night/dog/a.png",
        "sun/cat/a.png",
        "sun/dog/a.PNG",
        "sun/dog/deeper/b.bmp",
    )
    assert listing.domains == (0, 0, 0, 1, 1, 1)
    assert listing.labels == (0, 0, 1, 0, 1, 1)
    assert set(listing.given) == {-1}


def test_classes_alone_are_recognized_as_a_single_domain(tmp_path):
    listing = list_folder(grow(tmp_path / "zoo", "cat/a.png", "dog/a.png", "emu/a.png", "emu/b.png"))
    assert listing.layout == "class"
    assert (listing.domain_names, listing.class_names) == (("zoo",), ("cat", "dog", "emu"))
    assert (listing.labels, listing.domains) == ((0, 1, 2, 2), (0, 0, 0, 0))


@pytest.mark.parametrize(
    "names", [("test", "train", "val"), ("Test", "Training", "validation"), ("TEST", "train", "valid")]
)
def test_splits_of_classes_are_recognized_by_their_names(tmp_path, names):
    root = grow(tmp_path / "set", *(f"{name}/{c}/a.png" for name in names for c in ("cat", "dog")))
    listing = list_folder(root)
    assert listing.layout == "split/class"
    order = {"te": 2, "tr": 0, "va": 1}
    assert listing.given == tuple(order[path[:2].lower()] for path in listing.paths)
    assert set(listing.domains) == {0}
    assert len(listing.domain_names) == 1


def test_one_top_folder_that_is_no_split_name_makes_domains(tmp_path):
    root = grow(tmp_path / "set", *(f"{name}/{c}/a.png" for name in ("train", "street") for c in ("cat", "dog")))
    assert list_folder(root).layout == "domain/class"


def test_a_layout_that_is_given_overrides_what_would_be_recognized(domains, tmp_path):
    flat = list_folder(domains, "class")
    assert (flat.class_names, flat.domain_names, len(flat.paths)) == (("night", "sun"), ("places",), 6)
    split = grow(tmp_path / "set", *(f"{name}/{c}/a.png" for name in ("train", "test") for c in ("cat", "dog")))
    as_domains = list_folder(split, "domain/class")
    assert as_domains.domain_names == ("test", "train")
    assert set(as_domains.given) == {-1}


def test_a_split_layout_with_other_folder_names_is_an_error_that_names_them(domains):
    with pytest.raises(InputError, match="found 'night'"):
        list_folder(domains, "split/class")


def test_hidden_files_and_files_of_other_types_are_passed_over(domains):
    (domains / "night" / "cat" / "notes.txt").write_text("not an image")
    (domains / ".DS_Store").write_bytes(b"\0")
    paint(domains / "night" / "cat" / "._a.png", "red")
    paint(domains / "night" / "cat" / ".thumbs" / "a.png", "red")
    paint(domains / ".trash" / "cat" / "a.png", "red")
    assert len(list_folder(domains).paths) == 6


def test_a_folder_inside_a_class_that_is_named_like_an_image_is_not_an_image(domains):
    paint(domains / "night" / "cat" / "album.png" / "c.png", "red")
    paths = list_folder(domains).paths
    assert "night/cat/album.png/c.png" in paths
    assert "night/cat/album.png" not in paths


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        list_folder(tmp_path / "nowhere")


def test_a_folder_without_folders_is_an_error_that_says_what_is_expected(tmp_path):
    with pytest.raises(InputError, match="expected domain/class/image"):
        list_folder(grow(tmp_path / "set", "a.png").resolve())


def test_an_empty_class_folder_is_an_error_that_names_it(domains):
    (domains / "sun" / "emu").mkdir()
    with pytest.raises(InputError, match=r"class folder .*sun/emu contains no images"):
        list_folder(domains)


def test_a_single_class_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match="single class, 'cat'"):
        list_folder(grow(tmp_path / "set", "night/cat/a.png", "sun/cat/a.png"))


def test_mixed_depths_are_an_error_that_names_the_shallow_folder(domains):
    grow(domains, "loose/a.png")
    with pytest.raises(InputError, match="mixes depths: 'loose'"):
        list_folder(domains)


def test_images_come_with_their_class_domain_path_and_pixels(domains):
    data = load(str(domains), image_size=8)
    assert (data.images.shape, data.images.dtype) == ((6, 8, 8, 3), np.uint8)
    assert data.images[:, 4, 4, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.labels.tolist() == [0, 0, 1, 0, 1, 1]
    assert data.domains.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.paths[5] == "sun/dog/deeper/b.bmp"
    assert data.has_domains
    assert data.skipped == ()


def test_the_second_load_decodes_nothing_and_gives_the_same(domains, monkeypatch):
    first = load(str(domains), image_size=8)

    def refuse(content, size):
        raise AssertionError("decoded again")

    monkeypatch.setattr(afield.data.cache, "decode_square", refuse)
    second = load(str(domains), image_size=8)
    assert (second.images == first.images).all()
    assert second.fingerprint == first.fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        load(str(domains), image_size=9)


def test_a_new_time_of_change_alone_decodes_nothing(domains, monkeypatch):
    first = load(str(domains), image_size=8)
    os.utime(domains / "night/cat/a.png", (1, 1))
    monkeypatch.setattr(afield.data.cache, "decode_square", None)
    assert load(str(domains), image_size=8).fingerprint == first.fingerprint


def test_a_changed_removed_or_added_file_is_noticed(domains):
    fingerprints = {load(str(domains), image_size=8).fingerprint}
    paint(domains / "night/cat/a.png", (99, 0, 0))
    changed = load(str(domains), image_size=8)
    assert changed.images[0, 0, 0].tolist() == [99, 0, 0]
    fingerprints.add(changed.fingerprint)
    (domains / "night/cat/b.png").unlink()
    removed = load(str(domains), image_size=8)
    assert len(removed) == 5
    fingerprints.add(removed.fingerprint)
    paint(domains / "sun/dog/z.png", (77, 0, 0))
    added = load(str(domains), image_size=8)
    assert added.images[-1, 0, 0].tolist() == [77, 0, 0]
    fingerprints.add(added.fingerprint)
    assert len(fingerprints) == 4


def test_a_moved_folder_is_not_decoded_again_and_keeps_its_fingerprint(domains, tmp_path, monkeypatch):
    first = load(str(domains), image_size=8)
    shutil.move(domains, tmp_path / "elsewhere")
    monkeypatch.setattr(afield.data.cache, "decode_square", None)
    assert load(str(tmp_path / "elsewhere"), image_size=8).fingerprint == first.fingerprint


def test_progress_counts_up_to_the_number_of_files(domains):
    seen = []
    load_listing(list_folder(domains), Reading(8, progress=lambda done, total: seen.append((done, total))))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_an_interrupted_decoding_leaves_nothing_half_done(domains):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_listing(list_folder(domains), Reading(8, progress=interrupt))
    assert not list(cache_root().rglob("images.npy"))
    assert load(str(domains), image_size=8).images[:, 4, 4, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_what_a_killed_process_of_the_same_number_left_behind_is_no_obstacle(domains):
    """In a container the process number is often the same at each start."""
    load(str(domains), image_size=8)
    (done,) = cache_root().rglob("index.json")
    target = done.parent
    shutil.rmtree(target)
    target.with_name(f"{target.name}.{os.getpid()}.partial").mkdir()
    assert len(load(str(domains), image_size=8)) == 6


@pytest.fixture
def damaged(domains):
    """The domains with two bad files among the images."""
    (domains / "night/cat/b.png").write_bytes(b"")
    (domains / "sun/dog/a.PNG").write_text("no image")
    return domains


def test_bad_images_stop_the_load_and_are_named_with_their_reasons(damaged):
    with pytest.raises(InputError, match="2 bad images") as caught:
        load(str(damaged), image_size=8)
    for part in ("night/cat/b.png: the file is empty", "sun/dog/a.PNG: not an image", "--on-bad-image skip"):
        assert part in str(caught.value)


def test_skipped_bad_images_are_counted_and_listed_and_the_others_keep_their_labels(damaged):
    data = load(str(damaged), image_size=8, on_bad_image="skip")
    assert data.skipped == (("night/cat/b.png", "the file is empty"), ("sun/dog/a.PNG", "not an image"))
    assert data.images[:, 4, 4, 0].tolist() == [0, 2, 3, 5]
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.domains.tolist() == [0, 0, 1, 1]
    assert data.paths == ("night/cat/a.png", "night/dog/a.png", "sun/cat/a.png", "sun/dog/deeper/b.bmp")
    assert "skipped 2 bad images" in data.describe()
    assert "night/cat/b.png: the file is empty" in data.describe()


def test_a_bad_image_that_was_mended_is_read(damaged):
    with pytest.raises(InputError):
        load(str(damaged), image_size=8)
    paint(damaged / "night/cat/b.png", (1, 1, 1))
    paint(damaged / "sun/dog/a.PNG", (4, 4, 4))
    assert load(str(damaged), image_size=8).images[:, 4, 4, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_nothing_but_bad_images_is_an_error_even_if_they_may_be_skipped(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="2 bad images"):
        load(str(tmp_path / "set"), on_bad_image="skip")


def test_the_description_names_domains_counts_and_classes_that_a_domain_lacks(domains):
    paint(domains / "sun/emu/a.png", (50, 0, 0))
    first, *lines = load(str(domains), image_size=8).describe().splitlines()
    assert first.startswith(f"{domains}: 7 images")
    assert "8 x 8 pixels" in first
    assert lines[-2:] == ["  night: 3 (no emu)", "  sun: 4"]


def test_images_with_the_same_pixels_in_two_domains_are_reported(domains):
    assert leaks(load(str(domains), image_size=8)) == []
    shutil.copy(domains / "night/cat/a.png", domains / "sun/cat/copy.png")
    shutil.copy(domains / "night/cat/b.png", domains / "sun/dog/copy.png")
    shutil.copy(domains / "night/cat/b.png", domains / "night/cat/twin.png")
    found = leaks(load(str(domains), image_size=8))
    assert found == ["leakage: 2 images with the same pixels in night and sun"]


def test_images_with_the_same_pixels_in_train_and_test_are_reported(tmp_path):
    root = grow(tmp_path / "set", *(f"{s}/{c}/a.png" for s in ("train", "test") for c in ("cat", "dog")))
    shutil.copy(root / "train/cat/a.png", root / "test/cat/copy.png")
    assert leaks(load(str(root), image_size=8)) == ["leakage: 1 image with the same pixels in test and train"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("xyzzy", "allowed: camelyon17, cifar10, cifar100, colored_digits, digits"),
        ("./nowhere", "no such folder or file"),
        ("no/where", "no such folder or file"),
        ("nowhere.npz", "no such file: nowhere.npz"),
    ],
)
def test_data_that_is_neither_a_name_nor_a_path_is_an_error_that_helps(data, message):
    with pytest.raises(InputError, match=message):
        load(data)


def test_a_file_that_is_no_npz_is_an_error(tmp_path):
    paint(tmp_path / "a.png", "red")
    with pytest.raises(InputError, match=r"a file, but no \.npz"):
        load(str(tmp_path / "a.png"))


def test_a_folder_goes_before_a_data_set_of_the_same_name(tmp_path, monkeypatch):
    grow(tmp_path / "digits", "cat/a.png", "dog/a.png")
    monkeypatch.chdir(tmp_path)
    assert load("digits", image_size=8).class_names == ("cat", "dog")


def test_an_image_beside_class_folders_is_an_input_error_that_names_it(domains):
    stray = domains / "night" / "stray.png"
    Image.new("RGB", (4, 4)).save(stray)
    with pytest.raises(InputError, match=r"night/stray\.png is outside the class folders"):
        list_folder(domains)


def test_a_dangling_link_is_a_bad_image_until_its_target_is_there(domains, tmp_path):
    (domains / "sun/cat/z.png").symlink_to(tmp_path / "later.png")
    with pytest.raises(InputError, match=r"1 bad image .*sun/cat/z\.png: the target of the link is missing"):
        load(str(domains), image_size=8)
    assert len(load(str(domains), image_size=8, on_bad_image="skip")) == 6
    paint(tmp_path / "later.png", (40, 0, 0))
    assert 40 in load(str(domains), image_size=8).images[:, 4, 4, 0]


def test_linked_folders_are_followed_and_a_loop_is_entered_once(domains, tmp_path):
    paint(tmp_path / "more/y.png", (50, 0, 0))
    (domains / "sun/cat/linked").symlink_to(tmp_path / "more")
    (domains / "sun/cat/loop").symlink_to(domains / "sun/cat")
    paths = list_folder(domains).paths
    assert len(paths) == 7
    assert "sun/cat/linked/y.png" in paths


def test_junk_is_ignored_and_other_files_are_counted(domains):
    paint(domains / "__MACOSX/cat/a.png", "red")
    paint(domains / "sun/dog/@eaDir/a.png", "red")
    (domains / "sun/dog/Thumbs.db").write_bytes(b"x")
    (domains / "sun/dog/a.gif").write_bytes(b"x")
    paint(domains / "root.png", "red")
    lines = load(str(domains), image_size=8).describe().splitlines()
    assert "  ignored 1 .gif files" in lines
    assert "  ignored 1 images outside the class folders" in lines
    assert lines[0].endswith("6 images, 8 x 8 pixels")


def test_names_are_compared_in_one_normal_form(tmp_path):
    root = grow(tmp_path / "set", "a/B\u00e4r/a.png", "b/Ba\u0308r/a.png", "a/cat/a.png", "b/cat/a.png")
    listing = list_folder(root)
    assert listing.class_names == ("B\u00e4r", "cat")
    assert listing.labels == (0, 1, 0, 1)


@pytest.mark.parametrize(
    "name", ["a\x1b[31m", "a\nb", "a\uffff", "a\u202eb", b"a\xff".decode(errors="surrogateescape")]
)
def test_folder_names_that_control_a_terminal_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="must not contain the character") as caught:
        list_folder(grow(tmp_path / "set", f"{name}/a.png", "dog/a.png"))
    assert str(caught.value).isprintable()


def test_file_names_that_control_a_terminal_are_shown_escaped(tmp_path):
    data = load(str(grow(tmp_path / "set", "cat/a\x1b.png", "dog/a.png")), image_size=8)
    assert data.paths == ("cat/a\\x1b.png", "dog/a.png")


def test_to_evaluate_a_single_class_and_an_empty_class_folder_are_enough(domains):
    shutil.rmtree(domains / "night")
    shutil.rmtree(domains / "sun/dog")
    (domains / "sun/emu").mkdir()
    data = load(str(domains), image_size=8, min_classes=1)
    assert (data.class_names, data.labels.tolist()) == (("cat", "emu"), [0])


def test_a_given_test_split_without_a_good_image_is_refused(tmp_path):
    root = grow(tmp_path / "set", *(f"{s}/{c}/a.png" for s in ("train", "test") for c in ("cat", "dog")))
    for name in ("cat", "dog"):
        (root / "test" / name / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="the test split has no good images"):
        load(str(root), image_size=8, on_bad_image="skip")
