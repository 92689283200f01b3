"""Steps of ``mkdocs build``: pages made from code and records, the navigation, and links to files outside of docs/."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from pages.commands import commands_page
from pages.gallery import report_pages

REPOSITORY = "https://github.com/afield/afield/blob/main"
LINK = re.compile(r"""((?<=\]\()|(?<=src="))(?![a-z]+:|#)([^)#\s"]+)""")
"""The target of a Markdown link to a file, without its anchor, or that of an image in HTML."""

IMAGES = {".png", ".svg"}
SECTIONS = {"tutorials": "Tutorials"}
"""Section of the navigation for pages of a folder; other pages belong to How-to."""

GENERATED = {
    "changelog.md": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    "contributing.md": lambda: (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    "reference/commands.md": commands_page,
}
"""Pages that are not files of docs/."""

log = logging.getLogger("mkdocs.hooks.afield")


def on_config(config: Any) -> Any:
    """Append pages that the navigation does not name to its sections."""
    sections = {title: pages for section in config.nav for title, pages in section.items()}
    named = set(re.findall(r"'([^']+\.md)'", repr(config.nav)))
    for path in sorted(DOCS.rglob("*.md")):
        page = path.relative_to(DOCS).as_posix()
        if page not in named:
            sections[SECTIONS.get(path.parent.name, "How-to")].append(page)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, the reports of the gallery, and the images of records."""
    for name, text in GENERATED.items():
        files.append(File.generated(config, name, content=text()))
    for name, html in report_pages().items():
        files.append(File.generated(config, name, content=html))
    for path in sorted((ROOT / "results").rglob("*")):
        if path.suffix in IMAGES:
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make links to files outside of docs/ point to the site's copy of an image, or to the repository."""
    name = page.file.src_uri
    folder = ROOT if name in ("changelog.md", "contributing.md") else (DOCS / name).parent
    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", markdown, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [LINK.sub(lambda found: _target(found[2], folder, page.file, files), text) for text in parts[::2]]
    return "".join(parts)


def _target(link: str, folder: Path, file: File, files: Files) -> str:
    path = Path(os.path.normpath(folder / link))
    inside = path.relative_to(DOCS) if path.is_relative_to(DOCS) else path.relative_to(ROOT)
    if files.get_file_from_path(inside.as_posix()) is not None:
        return os.path.relpath(inside, Path(file.src_uri).parent).replace(os.sep, "/")
    if not path.exists():
        log.warning("%s links to %s, which does not exist", file.src_uri, link)
    return f"{REPOSITORY}/{path.relative_to(ROOT).as_posix()}"
