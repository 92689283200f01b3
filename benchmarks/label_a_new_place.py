"""From 0 to 28 labels in a new place by the commands of afield, with a browser that labels in the page.

    python benchmarks/label_a_new_place.py --data PACS [--domain cartoon] [--count 28] [--quick]

A model is trained on the other domains. The images of the new place get new names in random order, so that neither the
model nor the page can see their classes; the browser presses the key of the class in the data set. The commands, their
output, the labels, pictures of the page and the true accuracy on all other images of the place go to `--out`, and
docs/label_a_new_place.md is made from them. It needs `pip install 'afield[label,test]'`, chromium and chromedriver.
Features and models under `--work` are used again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.support.wait import WebDriverWait
from torch import nn

import afield
from afield.adaptation import with_backbone
from afield.data.decode import SUFFIXES
from afield.deploy import load
from afield.deploy.features import folder_features
from afield.labeling.label_file import read_labels
from afield.labeling.plan import DEFAULT_AUDIT
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.records import seed_for, write_json
from afield.runs.provenance import provenance

SOURCES, MODEL, ADAPTED, LABELS = "photos", "site-model", "new-site-model", "labels.csv"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")
PICTURES = {"light": (1100, 760, "light"), "dark": (1100, 760, "dark"), "phone": (390, 760, "light")}
"""Width, height and color scheme of each picture of the page."""

COLORS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of domain/class/image")
    parser.add_argument("--domain", default="cartoon", help="the new place")
    parser.add_argument("--count", type=int, default=28, help="number of chosen images")
    parser.add_argument("--audit", type=int, default=DEFAULT_AUDIT, help="number of audit images")
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--work", type=Path, default=Path("runs/label-a-new-place"))
    parser.add_argument("--out", type=Path, default=Path("results/label-a-new-place"))
    parser.add_argument("--quick", action="store_true", help="4 chosen and 4 audit images")
    options = parser.parse_args()
    count, audit = (4, 4) if options.quick else (options.count, options.audit)

    work, place = options.work, options.domain
    truth = arrange(options.data, place, work)
    (work / LABELS).unlink(missing_ok=True)
    shutil.rmtree(work / ADAPTED, ignore_errors=True)
    network = ("--freeze", "--backbone", options.backbone, "--weights", options.weights)
    unlabeled, labels = ("--unlabeled", place), ("--labels", LABELS)

    steps = {"train": command(work, "train", "--data", SOURCES, *network, "--out", MODEL)}
    steps["forecast"] = command(work, "forecast", MODEL, *unlabeled)
    arguments = (
        "label",
        MODEL,
        place,
        "--count",
        str(count),
        *(() if audit == DEFAULT_AUDIT else ("--audit", str(audit))),
    )
    steps["label"], pictures = label(work, arguments, truth)
    steps["before"] = command(work, "evaluate", MODEL, "--data", place, *labels)
    steps["adapt"] = command(work, "adapt", MODEL, *unlabeled, *labels, "--out", ADAPTED)
    steps["after"] = command(work, "evaluate", ADAPTED, "--data", place, *labels)

    with contextlib.chdir(work):
        forecast = afield.forecast(model=Path(MODEL), unlabeled=Path(place)).forecast
        measured = {name: measure(folder, place, truth) for name, folder in (("before", MODEL), ("after", ADAPTED))}
    setting = {"data": options.data.resolve().name, "domain": place, "images": len(truth)}
    result = {**setting, "chosen": count, "audit": audit, "forecast": dataclasses.asdict(forecast), **measured}
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "summary.json", {**result, "steps": steps, "provenance": provenance()})
    shutil.copy(work / LABELS, options.out)
    for name, picture in pictures.items():
        (options.out / f"{name}.png").write_bytes(picture)
    print(json.dumps({"benchmark": "label_a_new_place", **result}))


def arrange(data: Path, place: str, work: Path) -> dict[str, str]:
    """Link the other domains, and the images of the place under new names. Returns the class of each image by name."""
    shutil.rmtree(work / place, ignore_errors=True)
    shutil.rmtree(work / SOURCES, ignore_errors=True)
    for file in sorted(file for file in data.resolve().glob("*/*/*") if file.suffix.lower() in SUFFIXES):
        domain, name, image = file.parts[-3:]
        if domain != place:
            link(work / SOURCES / domain / name / image, file)
    files = sorted(file for file in (data.resolve() / place).glob("*/*") if file.suffix.lower() in SUFFIXES)
    random.Random(seed_for("names of the new place")).shuffle(files)
    truth = {f"{index:04d}{file.suffix}": file for index, file in enumerate(files, start=1)}
    for name, file in truth.items():
        link(work / place / name, file)
    return {name: file.parent.name for name, file in truth.items()}


def link(path: Path, file: Path) -> None:
    """Make a symbolic link to a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(file)


def command(work: Path, *arguments: str) -> dict[str, Any]:
    """Run a command of afield in a folder. Returns the command, its output and its duration."""
    start = time.monotonic()
    done = subprocess.run(python(arguments), cwd=work, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{shlex.join(('afield', *arguments))}: {done.stderr}")
    return step(arguments, done.stdout, start)


def python(arguments: tuple[str, ...]) -> list[str]:
    """A command line that runs a command of afield with this Python."""
    return [sys.executable, "-m", "afield", *arguments]


def step(arguments: tuple[str, ...], output: str, start: float) -> dict[str, Any]:
    """The record of a command."""
    lines = [line.rstrip() for line in output.strip().splitlines()]
    text = shlex.join(("afield", *arguments))
    return {"command": text, "output": "\n".join(lines), "seconds": round(time.monotonic() - start, 1)}


def label(work: Path, arguments: tuple[str, ...], truth: dict[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run ``afield label`` and label all its images in a browser. Returns its record, and pictures of the page."""
    start, pictures = time.monotonic(), dict[str, bytes]()
    server = subprocess.Popen(python((*arguments, "--no-open")), cwd=work, text=True, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        first = server.stdout.readline()
        address = re.search(r"http://\S+/", first)
        if address is None:
            sys.exit(f"{shlex.join(arguments)}: no page")
        with browser() as page:
            page.get(address[0])
            while path := shown(page):
                view = page.execute_script("return view")
                if (next_picture := due(view, pictures)) is not None:
                    pictures[next_picture] = photograph(page, *PICTURES[next_picture])
                ActionChains(page).send_keys(str(1 + view["classes"].index(truth[path]))).perform()
        server.send_signal(signal.SIGINT)
        output = first + server.communicate(timeout=60)[0]
    finally:
        server.kill()
    return step(arguments, re.sub(r"127\S+/", "127.0.0.1:PORT/TOKEN/", output), start), pictures


def due(view: dict[str, Any], taken: dict[str, bytes]) -> str | None:
    """The picture to take now, if any: chosen images in light and on a phone, an audit image in the dark."""
    progress, purpose = view["progress"], view["image"]["purpose"]
    labeled, every = (sum(part[key] for part in progress.values()) for key in ("labeled", "all"))
    for name, fraction in (("phone", 0.25), ("light", 0.5), ("dark", 0.75)):
        if name not in taken and labeled >= fraction * every and (purpose == "audit") == (name == "dark"):
            return name
    return None


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    options.binary_location = chromium or sys.exit("chromium is not installed")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def shown(page: Any) -> str | None:
    """Wait until the page shows an image; its path. None if all images are labeled."""
    ready = "return typeof view !== 'undefined' && view && !busy && (view.image ? view.image.path : 'all labeled')"
    found: str = WebDriverWait(page, 60).until(lambda page: page.execute_script(ready))
    return None if found == "all labeled" else found


def photograph(page: Any, width: int, height: int, scheme: str) -> bytes:
    """A picture of the page at a size in pixels, as a PNG file with few colors."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    images = "return [...document.images].every(image => image.hidden || image.complete)"
    WebDriverWait(page, 20).until(lambda page: page.execute_script(images))
    picture, file = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB"), io.BytesIO()
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def measure(folder: str, place: str, truth: dict[str, str]) -> dict[str, Any]:
    """The results of a model on the audit sample, and its accuracy on all images of the place without a label."""
    model, audited = load(folder), afield.evaluate(model=Path(folder), data=place, labels=Path(LABELS))
    labeled = {row.path for row in read_labels(Path(LABELS), model.class_names)}
    files, features, _ = folder_features(model, Path(place), "error")
    with torch.no_grad():
        predicted = with_backbone(model.classifier, nn.Identity()).logits(features).argmax(dim=1).tolist()
    pairs = zip(files, predicted, strict=True)
    right = [model.class_names[k] == truth[file.name] for file, k in pairs if file.name not in labeled]
    return {**audited, "true_accuracy": sum(right) / len(right)}


if __name__ == "__main__":
    main()
