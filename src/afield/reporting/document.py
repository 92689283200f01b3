"""Pages of results, which can be written as Markdown and HTML. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from afield.evaluation import Estimate
from afield.records import write_atomic
from afield.reporting.plots import standalone
from afield.reporting.templates import write_page


@dataclass(frozen=True)
class Table:
    """A table of texts with a caption and a header."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, caption: str, rows: Sequence[Mapping[str, str]]) -> Table:
        """Create a table from rows of cells by column, with the columns of the first row. Missing cells are empty."""
        header = tuple(rows[0])
        return cls(caption, header, [tuple(row.get(column, "") for column in header) for row in rows])


@dataclass(frozen=True)
class Figure:
    """An SVG figure of a page, with the name of its file."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A section of a page: heading, paragraphs, tables and figures."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Document:
    """A page with title, introduction, sections and provenance."""

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    provenance: Mapping[str, str]

    def write(self, folder: Path) -> Path:
        """Write the figures as SVG files and the page as ``report.html``; returns its path."""
        for figure in (figure for section in self.sections for figure in section.figures):
            write_atomic(folder / f"{figure.name}.svg", standalone(figure.svg))
        return write_page(folder / "report.html", "document.html.j2", document=self)

    def markdown(self, folder: str) -> str:
        """The page as Markdown, with a second-level heading. `folder` is the path of the figures from the page."""
        lines = [f"## {self.title}", "", *_paragraphs(self.lead)]
        for section in self.sections:
            lines += [f"### {section.title}", "", *_paragraphs(section.text)]
            for table in section.tables:
                lines += [*_paragraphs([table.caption]), _table(table), ""]
            for figure in section.figures:
                name = f"{folder}/{figure.name}.svg"
                lines.append(f'<img src="{name}" alt="{figure.title}" title="{figure.title}" width="400">')
            lines += [""] * bool(section.figures)
        facts = "; ".join(f"{name.lower()}: {value}" for name, value in self.provenance.items())
        return "\n".join([*lines, f"{facts}.", ""])


def said(value: Estimate | None, sign: str = "", *, digits: int = 1, factor: float = 100) -> str:
    """Mean, sample standard deviation and 95 % interval, times `factor`: ``71.9 ± 0.5 [70.2, 73.6]``; None is "–"."""
    if value is None:
        return "–"
    mean = f"{factor * value.mean:{sign}.{digits}f}"
    if value.ci95 is None or value.sd is None:
        return f"{mean} (n = {value.n})"
    low, high = (f"{factor * end:{sign}.{digits}f}" for end in value.ci95)
    return f"{mean} ± {factor * value.sd:.{digits}f} [{low}, {high}]"


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [line for text in texts if text for line in (text, "")]


def _table(table: Table) -> str:
    rows: Sequence[Sequence[str]] = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
