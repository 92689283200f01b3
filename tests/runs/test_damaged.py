"""Derived files that are damaged are discarded, which a line says, and made again by the same command."""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import afield
from afield.data import Validation, load, store
from afield.data.cache import cache_root
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.runs import features
from afield.runs.config import ExperimentConfig
from afield.training import PRESETS, loop


def flip(file: Path) -> None:
    """Change a single bit, and keep size and time of change."""
    content, stat = bytearray(file.read_bytes()), file.stat()
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "missing": lambda file: file.unlink(),
}


def frozen(photos: Path, weights: str = "none") -> ExperimentConfig:
    data = load(str(photos), image_size=16)
    return ExperimentConfig(data, BackboneConfig("resnet8", weights=weights), True, Validation(), PRESETS["frozen"])


def extracted(setup: ExperimentConfig) -> np.ndarray:
    found = features.stored_features(setup, "none", make_fabric("cpu", "32"))
    assert found is not None
    return np.array(found)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["images.npy", "digests.npy", "index.json"])
def test_a_damaged_image_cache_is_made_again(photos, name, damage):
    before = np.array(load(str(photos), image_size=16).images)
    (file,) = cache_root().rglob(name)
    DAMAGES[damage](file)
    with pytest.warns(UserWarning, match="is damaged; it is discarded and made again"):
        after = load(str(photos), image_size=16)
    assert np.array_equal(after.images, before)
    assert np.array_equal(load(str(photos), image_size=16).images, before)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["features.npy", "state.json"])
def test_damaged_features_are_extracted_again(photos, name, damage):
    before = extracted(frozen(photos))
    (file,) = cache_root().rglob(name)
    DAMAGES[damage](file)
    if (name, damage) == ("state.json", "missing"):  # as if nothing had been extracted
        assert np.array_equal(extracted(frozen(photos)), before)
        return
    with pytest.warns(UserWarning, match="are damaged; they are discarded and extracted again"):
        assert np.array_equal(extracted(frozen(photos)), before)


def test_images_are_read_for_their_checksum_only_if_the_stamp_of_their_file_changed(photos, monkeypatch):
    before, checked = np.array(load(str(photos), image_size=16).images), []
    checksum = store._pixel_checksum
    monkeypatch.setattr(store, "_pixel_checksum", lambda images: checked.append(len(images)) or checksum(images))
    assert np.array_equal(load(str(photos), image_size=16).images, before)
    assert checked == []
    (file,) = cache_root().rglob("images.npy")
    os.utime(file)  # as in a copy of the cache
    assert np.array_equal(load(str(photos), image_size=16).images, before)
    assert checked == [len(before)]


def test_a_process_checks_whole_features_once(photos, monkeypatch):
    setup, fabric, checked = frozen(photos), make_fabric("cpu", "32"), []
    extracted(setup)
    assert features.missing_features(setup, "none", fabric) == 0
    checksum = SimpleNamespace(crc32=lambda block: checked.append(len(block)) or zlib.crc32(block))
    monkeypatch.setattr("afield.data.features.zlib", checksum)
    assert features.missing_features(setup, "none", fabric) == 0
    assert checked == []
    (file,) = cache_root().rglob("features.npy")
    os.utime(file)
    assert features.missing_features(setup, "none", fabric) == 0
    assert sum(checked) == len(setup.data)


def test_features_of_other_weights_are_other_features(photos, tmp_path):
    import safetensors.torch

    model = features.frozen_backbone(BackboneConfig("resnet8"))[0]
    safetensors.torch.save_file({n: 2 * t for n, t in model.state_dict().items()}, tmp_path / "w.safetensors")
    before = extracted(frozen(photos))
    assert not np.array_equal(extracted(frozen(photos, str(tmp_path / "w.safetensors"))), before)
    assert np.array_equal(extracted(frozen(photos)), before)


def test_a_whole_cache_is_read_without_writing(photos, monkeypatch):
    images, before = load(str(photos), image_size=16).images[:], extracted(frozen(photos))

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in (
        "data.cache.exclusive",
        "data.cache.write_json",
        "data.features.exclusive",
        "data.features.write_json",
    ):
        monkeypatch.setattr(f"afield.{name}", refuse)
    assert np.array_equal(load(str(photos), image_size=16).images, images)
    assert np.array_equal(extracted(frozen(photos)), before)


def test_an_image_edited_to_the_same_size_within_the_resolution_of_the_clock_is_read_again(tmp_path, monkeypatch):
    from tests.conftest import write_photos

    photos, ago = write_photos(tmp_path / "photos"), time.time_ns() - 10**9
    first, second = sorted((photos / "day" / "cat").iterdir())[:2]
    size = max(first.stat().st_size, second.stat().st_size)
    for file in (first, second):
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    monkeypatch.setattr("afield.data.cache.stamp", lambda path: [path.stat().st_size, ago, ago])
    before = load(str(photos), image_size=16)
    first.write_bytes(second.read_bytes())
    after = load(str(photos), image_size=16)
    assert before.digests[0] != after.digests[0] == after.digests[1]


def trained(photos: Path, out: Path) -> list[float]:
    record = afield.train(data=str(photos), image_size=16, epochs=2, recipe="erm", out=out)
    return [epoch.validation["loss"] for epoch in record.epochs]


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_is_discarded(photos, tmp_path, monkeypatch, damage):
    before = trained(photos, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    save = loop.save

    def interrupt(path: Path, *arguments: object) -> None:
        save(path, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(photos, tmp_path / "out")
    DAMAGES[damage](tmp_path / "out" / "checkpoint.safetensors")
    with pytest.warns(
        UserWarning, match=r"checkpoint\.safetensors: .*; it is discarded, and this training begins anew"
    ):
        assert trained(photos, tmp_path / "out") == before


@pytest.mark.parametrize("name", ["predictions.safetensors", "model.safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_run_with_a_damaged_file_is_done_again(photos, tmp_path, recwarn, name, damage):
    before = trained(photos, tmp_path / "out")
    content = (tmp_path / "out" / name).read_bytes()
    DAMAGES[damage](tmp_path / "out" / name)
    assert trained(photos, tmp_path / "out") == before
    assert (tmp_path / "out" / name).read_bytes() == content
    said = any("this run is done again" in str(warning.message) for warning in recwarn)
    assert said != (name == "model.safetensors" and damage == "missing")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_domain_that_played_the_new_place_plays_again_if_its_results_are_damaged(
    photos, tmp_path, monkeypatch, recwarn, damage
):
    def train(out: Path) -> bytes:
        afield.train(
            data=str(photos), image_size=16, epochs=2, recipe="erm", backbone="resnet8_ibn", freeze=True, out=out
        )
        return (out / "adaptation.safetensors").read_bytes()

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("afield.deploy.train.clear", lambda out: None)
        assert train(tmp_path / "out") == whole
    files = sorted((tmp_path / "out").glob("calibration/*/plays.safetensors"))
    assert len(files) == 2
    DAMAGES[damage](files[1])
    (tmp_path / "out" / "done").unlink()
    assert train(tmp_path / "out") == whole
    said = any("plays.safetensors" in str(warning.message) for warning in recwarn)
    assert said == (damage != "missing")
