"""The documentation site builds without a warning, its links have targets, and it loads nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from afield.commands.parse import VERBS
from afield.recipes import RECIPES

mkdocs = pytest.importorskip("mkdocs.commands.build", reason="the site needs afield[docs]")

ROOT = Path(__file__).parent.parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attribute of each element whose target a browser loads with the page."""


class Page(HTMLParser):
    """The names of places in a page, and what it links to and loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.names, self.links, self.loads = path, set[str](), list[str](), list[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.names |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADED and LOADED[tag] in found:
            self.loads.append(found[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site, with empty reports in its gallery: other tests cover those."""
    from mkdocs.config import load_config

    out = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.setattr("pages.gallery.report_page", lambda records: "<title>A report</title>")
        mkdocs.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))  # aborts at a warning
    return out


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in site.rglob("*.html")}


def test_every_link_has_a_target(pages):
    broken = []
    for page in pages.values():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or page.path.name == "404.html":
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
            found = target.is_file() and (not parts.fragment or unquote(parts.fragment) in pages[target].names | {""})
            broken += [] if found else [(page.path.name, link)]
    assert broken == []
    assert len(pages) > 30


def test_no_page_loads_anything_from_elsewhere(site, pages):
    assert [(page.path.name, link) for page in pages.values() for link in page.loads if urlsplit(link).scheme] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_links_to_files_of_the_repository_name_files(pages):
    prefix = "https://github.com/afield/afield/blob/main/"
    found = {link.removeprefix(prefix) for page in pages.values() for link in page.links if link.startswith(prefix)}
    assert found
    assert [link for link in found if not (ROOT / link).exists()] == []


def test_the_command_line_page_has_every_option_of_every_command(site, pages):
    page = pages[(site / "reference" / "commands.html").resolve()]
    text = page.path.read_text(encoding="utf-8")
    for name, verb in VERBS.items():
        assert f"afield-{name.replace(' ', '-')}" in page.names
        for field in dataclasses.fields(verb):
            option = f"--{field.name.replace('_', '-')}"
            assert option in text or f"<code>{field.name.upper()}</code>" in text


def test_every_recipe_and_tutorial_can_be_found(site, pages):
    own = {entry.name for entry in RECIPES if not entry.package}
    assert own <= pages[(site / "recipes.html").resolve()].names
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    found = {entry["location"].partition("#")[0] for entry in index}
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert {path.with_suffix(".html").as_posix() for path in sources} <= found
    start = pages[(site / "index.html").resolve()].links
    assert {f"tutorials/{path.stem}.html" for path in (ROOT / "docs" / "tutorials").glob("*.md")} <= set(start)


def test_the_search_works_from_the_disk_and_pages_fit_a_phone(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((site / "index.html").as_uri())
    browser.find_element(By.CSS_SELECTOR, "input.md-search__input").send_keys("temperature")
    results = ".md-search-result__item > a"
    WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CSS_SELECTOR, results))
    assert "confidence.html" in browser.find_element(By.CSS_SELECTOR, results).get_attribute("href")
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    for name in ("index", "results", "reference/commands"):
        browser.get((site / f"{name}.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.get_log("browser") == []
