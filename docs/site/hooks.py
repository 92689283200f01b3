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

REPOSITORY = "https://github.com/afield/afield/blob/main"
LINK = re.compile(r"""(?:(?<=\]\()|(?<=src="))(?![a-z]+:|#)[^)#\s"]+""")
"""The target of a link in Markdown to a file, without its anchor, or of an image in HTML."""

NAMED = re.compile(r"\[([\w/]+\.md)\]\(([\w/.]+\.md)")
"""A link to a page with the name of the file as its text, for readers of the repository."""

CARD = "results/pacs-flattening/README.md"
"""A model card, which is a page of the site too."""

AT_ROOT = ("CHANGELOG", "CONTRIBUTING")
"""Pages of the site that lie beside docs/."""

IMAGES = {".png", ".svg"}
SECTIONS = {"tutorials": "Tutorials"}
"""Section of the navigation for pages of a folder; other pages belong to How-to."""

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
    sys.path.insert(0, str(DOCS))
    from pages.commands import commands_page
    from pages.gallery import report_pages

    made = {CARD: (ROOT / CARD).read_text(encoding="utf-8")}
    made |= {f"{name.lower()}.md": (ROOT / f"{name}.md").read_text(encoding="utf-8") for name in AT_ROOT}
    for name, content in (made | {"reference/commands.md": commands_page()} | report_pages()).items():
        files.append(File.generated(config, name, content=content))
    for path in sorted((ROOT / "results").rglob("*")):
        if path.suffix in IMAGES:
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend links outside of code: they name pages by title, and files outside of docs have an address."""
    name = page.file.src_uri
    folder = ROOT if Path(name).stem.upper() in AT_ROOT else (DOCS / name).parent

    def mended(text: str) -> str:
        text = NAMED.sub(lambda found: f"[{_title(folder / found[2])}]({found[2]}", text)
        return LINK.sub(lambda found: _target(found[0], folder, page.file, files), text)

    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(text if i % 2 else mended(text) for i, text in enumerate(parts))


def _title(page: Path) -> str:
    """The heading of a page."""
    return page.read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0]


def _target(link: str, folder: Path, file: File, files: Files) -> str:
    path = Path(os.path.normpath(folder / link))
    inside = path.relative_to(DOCS) if path.is_relative_to(DOCS) else path.relative_to(ROOT)
    if files.get_file_from_path(inside.as_posix()) is not None:
        return os.path.relpath(inside, Path(file.src_uri).parent).replace(os.sep, "/")
    if not path.exists():
        log.warning("%s links to %s, which does not exist", file.src_uri, link)
    return f"{REPOSITORY}/{path.relative_to(ROOT).as_posix()}"
