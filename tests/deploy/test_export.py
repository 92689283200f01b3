"""Export: the graph resizes as Pillow does, and predicts what the model predicts, without afield and torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

import afield as package
from afield.data.decode import squash
from afield.deploy.export import export_onnx
from afield.deploy.resize import resize
from tests.command_line import refused

onnxruntime = pytest.importorskip("onnxruntime")

LITE0 = ("--backbone", "tf_efficientnet_lite0", "--freeze", "--image-size", "64")

BARE = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("afield", "torch", "torchvision", "timm"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A Python program that runs a script where afield and torch cannot be imported."""

sides = st.integers(1, 90)


@given(before=st.tuples(sides, sides), after=st.tuples(sides, sides), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_resizing_gives_the_pixels_of_pillow(before, after, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*before, 3), dtype=np.uint8)
    resized = resize(torch.from_numpy(image).permute(2, 0, 1)[None].double(), after)
    assert np.array_equal(resized[0].permute(1, 2, 0).numpy(), squash(Image.fromarray(image), after))


def test_the_width_is_resized_first_also_for_high_images():
    """Width first, each row has the mean 1; height first, the columns have 0.5 and 1.5, rounded up, and then 1.5."""
    image = np.array([[0, 2], [0, 2], [1, 1], [1, 1]], np.uint8)[:, :, None].repeat(3, axis=2)
    assert squash(Image.fromarray(image), 1).tolist() == [[[1, 1, 1]]]
    height_first = Image.fromarray(image).resize((2, 1), Image.Resampling.BILINEAR)
    assert squash(height_first, 1).tolist() == [[[2, 2, 2]]]


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    """A JPEG, a PNG with transparency, a JPEG that EXIF turns, a palette PNG, a gray and a CMYK image."""
    photo, other = (Image.fromarray(each) for each in _photographs())
    paths = [tmp_path / name for name in ("a.jpg", "b.png", "c.jpg", "d.png", "e.png", "f.jpg")]
    photo.crop((0, 0, 200, 130)).save(paths[0])
    clear = other.crop((100, 100, 190, 300)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(paths[1])
    turned = Image.Exif()
    turned[0x0112] = 6
    other.crop((50, 0, 250, 100)).save(paths[2], exif=turned)
    photo.crop((0, 0, 70, 60)).convert("P").save(paths[3], transparency=3)
    photo.resize((31, 47)).convert("L").save(paths[4])
    photo.resize((40, 20)).convert("CMYK").save(paths[5])
    return paths


def _photographs() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


@pytest.mark.parametrize(
    "arguments",
    [("--recipe", "erm"), ("--recipe", "arcface"), ("--recipe", "flattening", *LITE0), ("--recipe", "ema")],
    ids=["linear", "arcface", "frozen", "ema"],
)
def test_the_script_predicts_the_same_without_afield_and_torch(afield, photos, pictures, tmp_path, arguments):
    code, _, err = afield("train", "--data", photos, "--epochs", 2, *arguments, "--out", tmp_path / "model")
    assert code == 0, err
    code, printed, err = afield("export", tmp_path / "model", "--out", tmp_path / "out" / "site.onnx")
    assert code == 0, err
    assert str(tmp_path / "out" / "site.onnx") in printed
    command = [sys.executable, "-c", BARE, tmp_path / "out" / "predict.py", *pictures]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = package.load(tmp_path / "model").predict(pictures)
    assert [each["path"] for each in found] == [str(path) for path in pictures]
    assert [each["label"] for each in found] == [each.label for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-4)
        assert one["probability"] == one["probabilities"][one["label"]]
    assert np.std([each.probability for each in expected]) > 1e-3  # the images differ for the model


def test_the_graph_takes_several_images_of_any_size_and_names_its_classes(photo_model, tmp_path):
    model = package.load(photo_model)
    package.export(photo_model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (3, 70, 31, 3), dtype=np.uint8)
    logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
    resized = np.stack([squash(Image.fromarray(image), model.size) for image in images])
    assert np.abs(logits - model.logits(resized).numpy()).max() < 1e-4
    assert np.abs(model.probabilities(torch.from_numpy(logits)).numpy() - probabilities).max() < 1e-6
    assert model.confidence.temperature != 1
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(model.class_names)
    assert metadata["image_size"] == "16"


def test_without_preprocessing_the_graph_takes_floats_of_the_model_size(afield, photo_model, tmp_path):
    code, _, err = afield("export", photo_model, "--out", tmp_path / "model.onnx", "--no-preprocess")
    assert code == 0, err
    assert not (tmp_path / "predict.py").exists()
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert np.abs(logits - package.load(photo_model).logits(images).numpy()).max() < 1e-4
    assert logits.std() > 0.01


def test_a_file_that_differs_from_the_model_is_not_written(afield, photo_model, pictures, tmp_path, monkeypatch):
    from afield.deploy import export

    monkeypatch.setattr(export, "resize", lambda images, size: 255 - resize(images, size))
    command = ("export", photo_model, "--out", tmp_path / "model.onnx", "--images", pictures[1])
    said = refused(afield, *command)
    assert f"differs from the model: on {pictures[1]}, a probability differs by " in said
    assert not (tmp_path / "model.onnx").exists()


def test_a_script_of_the_user_is_not_replaced(afield, photo_model, tmp_path):
    (tmp_path / "predict.py").write_text("print('mine')\n")
    said = refused(afield, "export", photo_model, "--out", tmp_path / "model.onnx")
    assert said.endswith("predict.py is another file and would be replaced; choose another folder for --out")
    assert (tmp_path / "predict.py").read_text() == "print('mine')\n"
    export_onnx(package.load(photo_model), tmp_path / "b" / "one.onnx")
    export_onnx(package.load(photo_model), tmp_path / "b" / "two.onnx")
    assert '"two.onnx"' in (tmp_path / "b" / "predict.py").read_text()
