"""The data sets of the field: read where they lie, and compared with what is published."""

import numpy as np
import pytest
from PIL import Image

from afield.data import DATASETS, load
from afield.data.benchmarks import ANGLES, BENCHMARKS
from afield.errors import InputError


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("AFIELD_DATA", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def paint(path, color=(9, 9, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(path)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_counts_of_the_domains_add_up_and_a_missing_set_says_where_to_get_it(name, tmp_path):
    benchmark = BENCHMARKS[name]
    if not isinstance(benchmark.domains, int):
        assert sum(benchmark.domains.values()) == benchmark.images
    assert name in DATASETS
    with pytest.raises(InputError) as caught:
        load(name)
    for text in (benchmark.title, str(tmp_path / benchmark.folders[0]), f"get it from {benchmark.source}", "--root"):
        assert text in str(caught.value)
    assert benchmark.source.startswith("http")


@pytest.mark.parametrize("root", [None, "somewhere"])
def test_a_set_of_domain_folders_is_read_where_it_lies_and_compared_with_what_is_published(tmp_path, root):
    domains, classes = (
        ("art_painting", "cartoon", "photo", "drawings"),
        "dog elephant giraffe guitar horse house person",
    )
    for domain in domains:
        for name in classes.split():
            paint(tmp_path / (root or "PACS") / domain / name / "a.jpg")
    data = load("pacs", root=root and tmp_path / root, image_size=8)
    assert (len(data), len(data.class_names)) == (28, 7)
    assert data.notes == (
        "differs from PACS: 28 images instead of 9,991",
        "differs from PACS: 7 images of art_painting instead of 2,048",
        "differs from PACS: 7 images of cartoon instead of 2,344",
        "differs from PACS: 7 images of photo instead of 1,670",
        "differs from PACS: 0 images of sketch instead of 3,929",
    )
    assert "differs from PACS: 28 images" in data.describe()


def test_a_folder_without_a_published_domain_is_refused_and_the_one_inside_is_named(tmp_path):
    for domain in ("art_painting", "cartoon"):
        paint(tmp_path / "PACS" / domain / "dog" / "a.jpg")
    with pytest.raises(InputError) as caught:
        load("pacs", root=tmp_path, image_size=8)
    domains = "art_painting, cartoon, photo, sketch"
    assert str(caught.value) == f"{tmp_path} contains no domain of PACS ({domains}); did you mean {tmp_path / 'PACS'}?"
    with pytest.raises(InputError, match="contains no domain of VLCS"):
        load("vlcs", root=tmp_path / "PACS", image_size=8)


def test_the_whole_pacs_differs_in_nothing(real_data):
    from afield.data.layout import list_folder

    listing = list_folder(real_data / "pacs")
    counts = dict(zip(listing.domain_names, np.bincount(listing.domains).tolist(), strict=True))
    assert counts == BENCHMARKS["pacs"].domains
    assert len(listing.paths) == BENCHMARKS["pacs"].images


def test_metadata_of_iwildcam_has_locations_sequences_and_its_images_in_a_folder(tmp_path):
    folder = tmp_path / "iwildcam_v2.0"
    rows = ["split,location_remapped,sequence_remapped,y,filename"]
    for i, split in enumerate(("train", "id_val", "test", "train")):
        paint(folder / "train" / f"{i}.jpg")
        rows.append(f"{split},{i % 2},{i // 2},{i % 3},{i}.jpg")
    (folder / "metadata.csv").write_text("\n".join(rows))
    data = load("iwildcam", image_size=8)
    assert (data.domain_names, data.domains.tolist()) == (("0", "1"), [0, 1, 0, 1])
    assert (data.class_names, data.labels.tolist()) == (("0", "1", "2"), [0, 1, 2, 0])
    assert data.groups.tolist() == [0, 0, 1, 1]
    assert set(data.given.tolist()) == {-1}
    assert "differs from iWildCam2020-WILDS: 2 domains instead of 323" in data.notes


def test_metadata_of_camelyon_builds_paths_and_keeps_patients_together(tmp_path):
    folder = tmp_path / "camelyon17_v1.0"
    rows = [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for i, (patient, center) in enumerate((("004", 0), ("004", 0), ("020", 1))):
        paint(folder / "patches" / f"patient_{patient}_node_4" / f"patch_patient_{patient}_node_4_x_{i}_y_7.png")
        rows.append(f"{i},{patient},4,{i},7,{i % 2},0,{center},0")
    (folder / "metadata.csv").write_text("\n".join(rows))
    data = load("camelyon17", image_size=8)
    assert data.groups.tolist() == [0, 0, 1]
    assert (data.domain_names, data.domains.tolist()) == (("0", "1"), [0, 0, 1])
    assert data.labels.tolist() == [0, 1, 0]


def test_mnist_m_is_read_from_its_lists_of_labels(tmp_path):
    folder = tmp_path / "mnist_m"
    for split, labels in (("train", "07"), ("test", "7")):
        for i, _ in enumerate(labels):
            paint(folder / f"mnist_m_{split}" / f"{i:08d}.png")
        lines = [f"{i:08d}.png {label}" for i, label in enumerate(labels)]
        (folder / f"mnist_m_{split}_labels.txt").write_text("\n".join(lines) + "\n")
    data = load("mnist_m", image_size=8)
    assert data.class_names == ("0", "7")
    assert data.paths == (f"mnist_m_test/{0:08d}.png", f"mnist_m_train/{0:08d}.png", f"mnist_m_train/{1:08d}.png")
    assert (data.labels.tolist(), data.given.tolist()) == ([1, 0, 1], [2, 0, 0])


class FewDigits:
    """Stands for torchvision's MNIST: a dot above the middle of each image."""

    def __init__(self, folder, train, download):
        assert download
        self.data = np.zeros((120 if train else 60, 28, 28), dtype=np.uint8)
        self.data[:, 2:6, 12:16] = 255
        self.targets = np.arange(len(self.data)) % 10


def test_rotated_mnist_has_each_digit_once_in_six_angles(monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST", FewDigits)
    data = load("rotated_mnist")
    assert (len(data), data.images.shape[1:], data.flippable) == (180, (28, 28, 3), False)
    assert data.domain_names == ("0", "15", "30", "45", "60", "75")
    assert np.bincount(data.domains).tolist() == [30] * 6
    for domain, angle in enumerate(ANGLES):
        image = data.images[data.domains == domain][0, :, :, 0].astype(float)
        y, x = ((image * grid).sum() / image.sum() - 13.5 for grid in np.mgrid[:28, :28])
        assert np.degrees(np.arctan2(-x, -y)) == pytest.approx(angle, abs=2)
    assert load("rotated_mnist").fingerprint == data.fingerprint


def test_a_failed_download_is_an_input_error(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nno route")

    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    with pytest.raises(InputError, match="--data rotated_mnist: the download failed"):
        load("rotated_mnist")


def test_a_folder_of_the_same_name_goes_first(tmp_path):
    for name in ("cat", "dog"):
        paint(tmp_path / "work" / "pacs" / name / "a.png")
    assert load("pacs", image_size=8).class_names == ("cat", "dog")
