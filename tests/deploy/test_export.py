"""Export: the graph resizes as Pillow does, and predicts what the model predicts, without afield and torch."""

from __future__ import annotations

import ast
import importlib.util
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
from afield.deploy import outputs
from afield.deploy.export import SCRIPT, export_model
from afield.deploy.model import upright
from afield.deploy.outputs import metadata
from afield.deploy.resize import resize
from tests.command_line import refused

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

LITE0 = ("--backbone", "tf_efficientnet_lite0", "--freeze", "--image-size", "64")

PACKAGES = ("onnxruntime", "numpy", "PIL")

BARE = """
import runpy, sys

folder, *sys.argv = sys.argv[1:]
sys.path = [path for path in sys.path if "site-packages" not in path] + [folder]
runpy.run_path(sys.argv[0], run_name="__main__")
outside = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__", "__mp_main__"}
print(*sorted(outside), file=sys.stderr)
"""
"""A Python program that runs a script with the standard library and the packages of one folder."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A folder with links to the packages that the script needs, and to the shared libraries of their wheels."""
    folder = tmp_path_factory.mktemp("bare")
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        package = Path(found.origin).parent
        libraries = package.with_name(f"{'pillow' if name == 'PIL' else name}.libs")
        for path in (package, libraries):
            if path.exists():
                (folder / path.name).symlink_to(path, target_is_directory=True)
    return folder


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


def check_without_afield(bare, model, script, pictures):
    """Run a script where only three packages can be imported: it prints the predictions of the model at full size."""
    command = [sys.executable, "-I", "-S", "-c", BARE, bare, script, *pictures]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) == set(PACKAGES)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = package.load(model).predict([upright(path) for path in pictures])
    assert [each["path"] for each in found] == [str(path) for path in pictures]
    assert [each["label"] for each in found] == [each.label for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-4)
        assert one["probability"] == one["probabilities"][one["label"]]
    assert np.std([each.probability for each in expected]) > 1e-3  # the images differ for the model


@pytest.mark.parametrize(
    "arguments",
    [("--recipe", "erm"), ("--recipe", "arcface"), ("--recipe", "flattening", *LITE0), ("--recipe", "ema")],
    ids=["linear", "arcface", "frozen", "ema"],
)
def test_the_script_predicts_the_same_in_a_bare_environment(afield, photos, pictures, tmp_path, arguments, bare):
    code, _, err = afield("train", "--data", photos, "--epochs", 2, *arguments, "--out", tmp_path / "model")
    assert code == 0, err
    code, printed, err = afield("export", tmp_path / "model", "--out", tmp_path / "out" / "site.onnx")
    assert code == 0, err
    assert f"{tmp_path / 'out' / 'site.onnx'}: largest difference of a probability to the model" in printed
    check_without_afield(bare, tmp_path / "model", tmp_path / "out" / "predict.py", pictures)


def test_an_ensemble_is_exported_as_one_model(afield, photo_model, photo_arcface, pictures, tmp_path, bare):
    ensemble = tmp_path / "ensemble"
    assert afield("ensemble", photo_model, photo_arcface, "--out", ensemble)[0] == 0
    code, _, err = afield("export", ensemble, "--out", tmp_path / "out" / "model.onnx")
    assert code == 0, err
    check_without_afield(bare, ensemble, tmp_path / "out" / "predict.py", pictures)


def test_the_script_has_15_statements():
    body = ast.parse(SCRIPT.read_text()).body[1:]  # without the docstring
    assert sum(isinstance(node, ast.stmt) for part in body for node in ast.walk(part)) == 16


def test_a_program_predicts_the_same_for_images_of_any_size(afield, photo_model, pictures, tmp_path):
    code, _, err = afield("export", photo_model, "--out", tmp_path / "model.pt2", "--images", *pictures)
    assert code == 0, err
    assert not (tmp_path / "predict.py").exists()
    extra = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    model = package.load(photo_model)
    assert json.loads(extra["metadata.json"]) == metadata(model, model.confidence.threshold(0.95))
    images = np.random.default_rng(0).integers(0, 256, (3, 70, 31, 3), dtype=np.uint8)
    logits, probabilities = program(torch.from_numpy(images))
    resized = np.stack([squash(Image.fromarray(image), model.size) for image in images])
    assert torch.allclose(logits, model.logits(resized), atol=1e-4)
    assert torch.allclose(probabilities, model.probabilities(model.logits(resized)), atol=1e-5)


def test_a_program_without_preprocessing_takes_floats(photo_model, tmp_path):
    model = package.load(photo_model)
    export_model(model, tmp_path / "model.pt2", preprocess=False)
    images = torch.rand(1, 3, 16, 16)
    logits, _ = torch.export.load(tmp_path / "model.pt2").module()(images)
    assert torch.allclose(logits, model.classifier.logits(images), atol=1e-5)


def test_int8_measures_its_loss_on_images_that_did_not_calibrate(afield, photo_model, tmp_path):
    photos = photo_model.parent / "photos"
    code, printed, err = afield(
        "export", photo_model, "--out", tmp_path / "small.onnx", "--int8", "--images", photos, "--threshold", 0.7
    )
    assert code == 0, err
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["threshold"] == "0.7"
    loss = json.loads(properties["int8"])
    assert (loss["images"], loss["calibration_images"]) == (36, 36)
    assert "int8: the same class as the model on" in printed
    files = sorted(photos.rglob("*.png"))[1::2]
    model = package.load(photo_model)
    before = np.array([[*each.probabilities.values()] for each in model.predict(files)])
    after = np.concatenate(
        [session.run(["probabilities"], {"images": np.asarray(Image.open(file))[None]})[0] for file in files]
    )
    assert loss["agreement"] == (before.argmax(1) == after.argmax(1)).mean() >= 0.8
    assert loss["largest_difference"] == pytest.approx(np.abs(before - after).max(), abs=1e-5)
    assert 1e-4 < loss["largest_difference"] < 0.2
    names = np.array([model.class_names.index(file.parent.name) for file in files])
    assert loss["model_accuracy"] == (before.argmax(1) == names).mean()
    assert loss["accuracy"] == (after.argmax(1) == names).mean()
    weights = onnx.load(tmp_path / "small.onnx").graph.initializer
    assert sum(each.data_type == onnx.TensorProto.INT8 for each in weights) >= 8  # convolutions of ResNet-8
    assert all(each.data_type == onnx.TensorProto.FLOAT for each in weights if ".head." in each.name)


def test_int8_needs_images_and_an_onnx_file(afield, photo_model, pictures, tmp_path):
    said = refused(afield, "export", photo_model, "--int8", "--out", tmp_path / "a.onnx", "--images", *pictures)
    assert "--int8 needs at least 20 images like those to predict, got 6" in said
    assert "ends with .onnx" in refused(afield, "export", photo_model, "--int8", "--out", tmp_path / "a.pt2")
    assert "must end with .onnx or .pt2" in refused(afield, "export", photo_model, "--out", tmp_path / "a.tflite")


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
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["class_names"]) == list(model.class_names)
    assert properties["image_size"] == "16"
    assert float(properties["temperature"]) == model.confidence.temperature
    assert float(properties["threshold"]) == model.confidence.threshold(0.95)


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
    monkeypatch.setattr(outputs, "resize", lambda images, size: 255 - resize(images, size))
    command = ("export", photo_model, "--out", tmp_path / "model.onnx", "--images", pictures[1])
    said = refused(afield, *command)
    assert f"differs from the model: on {pictures[1]}, a probability differs by " in said
    assert not (tmp_path / "model.onnx").exists()


def test_a_script_of_the_user_is_not_replaced(afield, photo_model, tmp_path):
    (tmp_path / "predict.py").write_text("print('mine')\n")
    said = refused(afield, "export", photo_model, "--out", tmp_path / "model.onnx")
    assert said.endswith("predict.py is another file and would be replaced; choose another folder for --out")
    assert (tmp_path / "predict.py").read_text() == "print('mine')\n"
    older = tmp_path / "b" / "predict.py"
    older.parent.mkdir()
    older.write_text(SCRIPT.read_text().replace('"model.onnx"', '"one.onnx"'))
    export_model(package.load(photo_model), tmp_path / "b" / "two.onnx")
    assert '"two.onnx"' in older.read_text()
