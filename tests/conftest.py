from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small nets: threads cost more than they give, in subprocesses too

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import afield as package
from afield.data import ImageSet, load
from afield.records import seed_for

CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked for a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU that PyTorch can use")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("AFIELD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with unpacked research data."""
    folder = os.environ.get("AFIELD_DATA")
    if not folder:
        pytest.skip("AFIELD_DATA names no folder with unpacked research data")
    return Path(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of domain/class/image: two domains, three classes, twelve images each, told apart by color."""
    return write_photos(tmp_path / "photos")


def write_photos(root: Path, domains: tuple[str, ...] = ("day", "night"), size: int = 20) -> Path:
    colors = {"cat": (200, 60, 40), "dog": (40, 180, 60), "owl": (50, 70, 210)}
    for domain in domains:
        for name, color in colors.items():
            folder = root / domain / name
            folder.mkdir(parents=True)
            for i in range(12):
                rng = np.random.default_rng(seed_for(domain, name, i))
                noise = rng.normal(0, 25, size=(size, size, 3))
                pixels = (np.array(color) + (60 if domain == domains[0] else -20) + noise).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02d}.png")
    return root


@pytest.fixture
def afield(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error."""
    from afield.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The embedded digits."""
    return load("digits")


@pytest.fixture(scope="session")
def photo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two of three places; the third one is new to it."""
    folder = tmp_path_factory.mktemp("trained")
    write_photos(folder / "photos", ("day", "dusk"))
    package.train(data=str(folder / "photos"), image_size=16, epochs=2, recipe="erm", out=folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def photo_arcface(photo_model: Path) -> Path:
    """A model of the same images as `photo_model`, with a margin head and another seed."""
    data, out = photo_model.parent / "photos", photo_model.parent / "arcface"
    package.train(data=str(data), image_size=16, epochs=2, recipe="arcface", seed=1, out=out)
    return out


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the digits and their mirror images, trained for three epochs with the preset fast_cifar."""
    out = tmp_path_factory.mktemp("fast") / "digits"
    package.train(
        data="digits",
        preset="fast_cifar",
        recipe="fast_cifar",
        backbone="whitened_vgg_narrow",
        batch_size=32,
        learning_rate=0.3,
        epochs=3,
        augment="translate+alternating_flip",
        out=out,
    )
    return out


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()
