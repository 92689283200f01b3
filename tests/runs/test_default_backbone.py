"""Without --backbone, photographs are trained on a frozen pretrained network, and tiny images from scratch."""

from __future__ import annotations

import numpy as np
import pytest

from afield.commands import Train
from afield.commands.augment import AugmentLearn
from afield.commands.compare import Compare
from afield.commands.search import AugmentSearch
from afield.data import load
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE
from afield.records import read_record
from afield.runs.callback import SILENT
from afield.settings import PRESETS
from tests.command_line import refused
from tests.conftest import write_photos
from tests.data.test_shards import png, shard

LITE0 = BackboneConfig("tf_efficientnet_lite0", weights=PACKAGE)


def setup_of(verb, data, **options):
    return verb(data=str(data), **options).load_setup(SILENT)


@pytest.fixture
def large(tmp_path):
    return write_photos(tmp_path / "large", size=65)


@pytest.mark.parametrize("verb", [Compare, Train])
def test_photographs_are_frozen(large, verb):
    setup = setup_of(verb, large)
    assert (setup.backbone, setup.freeze, setup.training) == (LITE0, True, PRESETS["frozen"])
    assert setup.data.images.shape[1:3] == (224, 224)
    assert "the default for photographs (--backbone resnet8_ibn trains from scratch)" in setup.why_backbone
    assert (
        setup.config() == setup_of(verb, large, backbone="tf_efficientnet_lite0", weights=PACKAGE, freeze=True).config()
    )


def test_images_of_at_most_64_pixels_are_trained_from_scratch(tmp_path, large):
    tiny = write_photos(tmp_path / "tiny", size=64)
    for setup in (setup_of(Compare, tiny), setup_of(Compare, large, image_size=64)):
        assert (setup.backbone, setup.freeze) == (BackboneConfig("resnet8_ibn"), False)
        assert setup.training == PRESETS["scratch"]
        assert setup.data.images.shape[1:3] == (64, 64)
        assert setup.why_backbone == "from scratch: the images have at most 64 pixels"
    assert setup_of(Compare, large, image_size=65).backbone == LITE0


def test_the_size_of_most_images_decides(tmp_path, large):
    write_photos(tmp_path / "mixed", ("day", "night"), size=20)
    assert load(str(tmp_path / "mixed")).images.shape[1] == 64
    for name in ("day", "night"):
        (large / name).rename(tmp_path / "mixed" / f"large {name}")
    (tmp_path / "mixed" / "night" / "owl" / "bad.jpg").write_bytes(b"no image")
    extra = write_photos(tmp_path / "extra", ("dawn",), size=90)
    (extra / "dawn").rename(tmp_path / "mixed" / "dawn")
    assert load(str(tmp_path / "mixed"), on_bad_image="skip").images.shape[1] == 224


def test_the_first_images_of_a_stream_decide(tmp_path):
    for size, expected in ((64, 64), (65, 224)):
        files = [
            (f"{i}.{kind}", png(20 * i, size) if kind == "png" else str(i % 2).encode())
            for i in range(4)
            for kind in ("png", "cls")
        ]
        shard(tmp_path / f"{size}.tar", *files)
        assert load(str(tmp_path / f"{size}.tar")).images.shape == (4, expected, expected, 3)


def test_embedded_digits_and_arrays_keep_their_size(tmp_path):
    assert setup_of(Train, "digits").backbone == BackboneConfig("resnet8_ibn")
    assert setup_of(Train, "digits").training.epochs == PRESETS["digits"].epochs
    assert setup_of(Compare, "colored_digits").training.epochs == PRESETS["colored_digits"].epochs
    images = np.random.default_rng(0).integers(256, size=(12, 80, 80, 3), dtype=np.uint8)
    parts = {"train": slice(8), "test": slice(8, 12)}
    arrays = {f"{name}_images": images[part] for name, part in parts.items()}
    arrays |= {f"{name}_labels": np.arange(12)[part] % 2 for name, part in parts.items()}
    np.savez(tmp_path / "set.npz", **arrays)
    setup = setup_of(Train, tmp_path / "set.npz")
    assert (setup.backbone, setup.data.images.shape[1]) == (LITE0, 80)


def test_what_is_asked_for_is_used(large):
    scratch = setup_of(Compare, large, backbone="resnet8_ibn")
    assert (scratch.freeze, scratch.data.images.shape[1], scratch.why_backbone) == (False, 64, "")
    whole = setup_of(Compare, large, weights=PACKAGE)
    assert (whole.backbone, whole.freeze, whole.training) == (LITE0, False, PRESETS["flattening_paper"])
    assert setup_of(Train, "digits", freeze=True).backbone == LITE0
    for verb in (AugmentLearn, AugmentSearch):
        assert setup_of(verb, large).backbone == BackboneConfig("resnet8_ibn")


@pytest.mark.parametrize(
    "arguments", [("--augment", "crop_flip"), ("--recipes", "mixstyle"), ("--recipes", "color_jitter")]
)
def test_what_needs_images_names_the_backbones_that_train_on_them(afield, large, tmp_path, arguments):
    line = refused(afield, "compare", "--data", large, *arguments, "--out", tmp_path / "out")
    assert f"add --backbone tf_efficientnet_lite0 --weights {PACKAGE}, or --backbone resnet8_ibn from scratch" in line


def test_wrong_settings_are_refused_before_images_are_decoded(afield, tmp_path):
    assert "learning_rate must lie between" in refused(
        afield, "train", "--data", tmp_path / "nowhere", "--learning-rate", "-1"
    )


def test_train_says_what_it_uses_and_how_long_it_takes(afield, large, tmp_path, monkeypatch):
    monkeypatch.setattr("afield.comparison.estimate.LONG", 0)
    code, _, err = afield("train", "--data", large, "--epochs", 1, "--out", tmp_path / "model")
    assert code == 0, err
    said = " ".join(err.split())
    assert f"backbone tf_efficientnet_lite0, weights {PACKAGE}, frozen: the default for photographs" in said
    assert said.index("features of the frozen backbone: about") > said.index("the default for photographs")
    assert read_record(tmp_path / "model" / "record.json").config["backbone"]["freeze"]
    code, _, err = afield("train", "--data", large, "--epochs", 1, "--out", tmp_path / "model")
    assert "features of the frozen backbone" not in err


def test_the_first_comparison_has_recipes_of_its_own(large):
    def compared(**options):
        comparison = Compare(**options).load(SILENT)[0]
        return [recipe.name for recipe in comparison.recipes], comparison.seeds

    assert compared() == (["erm", "color_jitter"], 4)
    assert compared(data="digits") == (["erm", "flattening", "arcface"], 3)
    assert compared(recipes=("erm",), seeds=2) == (["erm"], 2)
