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

from afield.labeling.label_file import NONE_OF_THESE, read_labels
from tests.conftest import write_photos

pytest.importorskip("uvicorn", reason="uvicorn is not installed")

NAMES = ("cat", "dog", "owl")


class Server:
    """``afield label`` in a process of its own."""

    def __init__(self, model: Path, site: Path, file: Path) -> None:
        options = ("--count", "24", "--audit", "8", "--near-duplicates", "--csv", str(file), "--no-open")
        command = [sys.executable, "-m", "afield", "label", str(model), str(site), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", self.process.stdout.readline())
        assert found
        self.address = found[0]

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
    assert "does not answer" in browser.find_element("id", "message").text
    assert labeled(file) == typed

    start()
    label(20 - len(typed))
    assert len(typed) == 20
    assert labeled(file) == typed
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
