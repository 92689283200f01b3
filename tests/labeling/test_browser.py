"""The page in a real browser: keys, undo, reload, a server that is killed, a phone's width, the dark."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import afield
from afield.labeling.label_file import NONE_OF_THESE, read_labels
from tests.conftest import write_photos

pytest.importorskip("uvicorn", reason="uvicorn is not installed")

NAMES = ("cat", "dog", "owl")
PURPOSES = ("audit", "chosen")
ANIMALS = ("ant", "bear", "cat", "crab", "deer", "dog", "fox", "goat", "hare", "lynx", "mole", "owl")


class Server:
    """``afield label`` in a process of its own."""

    def __init__(self, model: Path, site: Path, file: Path, count: int = 24, audit: int = 8) -> None:
        sizes = ("--count", str(count), "--audit", str(audit))
        options = (*sizes, "--near-duplicates", "--csv", str(file), "--no-open")
        command = [sys.executable, "-m", "afield", "label", str(model), str(site), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", self.process.stdout.readline())
        assert found
        self.address = found[0]

    def interrupt(self) -> str:
        """End the command as Ctrl-C does; what it prints."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        printed = self.process.stdout.read()
        assert self.process.wait(timeout=20) == 0
        return printed

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(photo_model: Path, tmp_path: Path, browser: Any) -> Iterator[Any]:
    """Start a server, or another one on the same files; the browser opens its page."""
    site = write_photos(tmp_path / "site", ("night",)) / "night"
    servers = []

    def run() -> Server:
        servers.append(Server(photo_model, site, tmp_path / "labels.csv"))
        browser.get(servers[-1].address)
        shown(browser)
        return servers[-1]

    yield run
    for server in servers:
        server.kill()


def shown(browser: Any) -> str:
    """Wait until an image can be labeled; its path."""
    from selenium.webdriver.support.wait import WebDriverWait

    ready = "return !busy && document.getElementById('image').complete && document.getElementById('path').textContent"
    return WebDriverWait(browser, 20).until(lambda page: page.execute_script(ready))


def press(browser: Any, key: str) -> None:
    """Press a key and wait for the answer."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    ActionChains(browser).send_keys(key).perform()
    WebDriverWait(browser, 20).until(lambda page: page.execute_script("return !busy"))


def said(browser: Any) -> str:
    text: str = browser.find_element("id", "message").text
    return text


def labeled(file: Path) -> dict[str, str]:
    return {row.path: row.label for row in read_labels(file, NAMES) if row.label}


def test_twenty_images_by_keys_undo_reload_and_a_killed_server(start, browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    file, typed = tmp_path / "labels.csv", {}
    server = start()

    def label(count: int) -> None:
        for _ in range(count):
            path = shown(browser)
            name = path.split("/")[0]
            press(browser, str(1 + NAMES.index(name)))
            typed[path] = name

    label(8)
    last = list(typed)[-1]
    press(browser, Keys.ARROW_LEFT)
    assert shown(browser) == last
    del typed[last]
    assert labeled(file) == typed

    skipped = shown(browser)
    press(browser, Keys.ARROW_RIGHT)
    assert shown(browser) != skipped
    press(browser, "-")
    (none,) = labeled(file).keys() - typed.keys()
    assert labeled(file)[none] == NONE_OF_THESE
    assert said(browser) == "Labeled: none of these"
    typed[none] = NONE_OF_THESE

    before = shown(browser)
    browser.refresh()
    assert shown(browser) == before
    press(browser, Keys.ARROW_LEFT)
    assert shown(browser) == none  # a reload keeps what can be undone
    press(browser, "-")

    label(4)
    server.kill()
    press(browser, "1")
    assert "does not answer" in said(browser)
    assert labeled(file) == typed

    server = start()
    label(20 - len(typed))
    assert len(typed) == 20
    assert labeled(file) == typed
    accuracy = browser.find_element("id", "accuracy").text
    assert re.search(
        r"[\d.]+ % with \d+ labels, [\d.]+ % before; 95 % interval from \d audit images: [\d.]+ % to", accuracy
    )
    counts = [sum(row.purpose == purpose for row in read_labels(file, NAMES) if row.label) for purpose in PURPOSES]
    assert f"labels for {counts[0]} of 8 audit images and {counts[1]} of 24 chosen images" in server.interrupt()
    assert not [entry for entry in browser.get_log("browser") if "ERR_CONNECTION_REFUSED" not in entry["message"]]


def test_two_tabs_label_different_images(start, browser, tmp_path):
    server = start()
    first = shown(browser)
    browser.switch_to.new_window("tab")
    browser.get(server.address)
    assert shown(browser) != first
    press(browser, "1")
    browser.switch_to.window(browser.window_handles[0])
    press(browser, "2")
    assert labeled(tmp_path / "labels.csv")[first] == "dog"
    assert sorted(labeled(tmp_path / "labels.csv").values()) == ["cat", "dog"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (375, 700)])
def test_everything_fits_on_a_screen_and_on_a_phone_in_light_and_dark(start, browser, width, height):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    start()
    for scheme, dark in (("light", False), ("dark", True)):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        size = browser.execute_script("return [document.documentElement.scrollWidth, document.body.scrollHeight]")
        assert size[0] <= width
        assert size[1] <= height
        paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == dark
        for button in browser.find_elements("css selector", "footer button"):
            assert button.rect["height"] >= 40
            assert button.is_displayed()
        image = browser.find_element("id", "image").rect
        assert image["height"] > height / 4


def test_the_page_works_without_a_mouse_by_buttons_alone(start, browser, tmp_path):
    start()
    path = shown(browser)
    browser.find_element("css selector", "#classes button").send_keys("\n")
    shown(browser)
    assert labeled(tmp_path / "labels.csv") == {path: "cat"}
    browser.find_element("id", "larger").send_keys("\n")
    assert browser.execute_script("return document.body.classList.contains('large')")


def test_many_classes_are_filtered_by_typing(browser, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    for number, name in enumerate(ANIMALS):
        for place in ("day", "night"):
            (tmp_path / "photos" / place / name).mkdir(parents=True)
            for index in range(2):
                color = (20 * number, 255 - 20 * number, 100 * index)
                Image.new("RGB", (16, 16), color).save(tmp_path / "photos" / place / name / f"{index}.png")
    afield.train(data=str(tmp_path / "photos"), image_size=16, epochs=1, recipe="erm", out=tmp_path / "model")
    server = Server(tmp_path / "model", tmp_path / "photos" / "night", tmp_path / "labels.csv", 6, 2)
    try:
        browser.get(server.address)
        paths = [shown(browser)]
        ActionChains(browser).send_keys("o").perform()
        buttons = browser.find_elements("css selector", "#classes button")
        assert [button.text for button in buttons] == ["owl", "dog", "fox", "goat", "mole"]
        press(browser, "w" + Keys.ENTER)
        paths.append(shown(browser))
        press(browser, Keys.ENTER)  # without a filter, Enter selects nothing
        press(browser, "CR" + Keys.ENTER)
        paths.append(shown(browser))
        press(browser, "x" + Keys.ESCAPE + "-")
        found = {row.path: row.label for row in read_labels(tmp_path / "labels.csv", ANIMALS) if row.label}
        assert found == dict(zip(paths, ("owl", "crab", NONE_OF_THESE), strict=True))
        press(browser, Keys.ARROW_LEFT)
        assert shown(browser) == paths[2]
        assert said(browser) == "Last label removed"
    finally:
        server.kill()
