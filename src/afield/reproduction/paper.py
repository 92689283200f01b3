"""A paper: its studies at a size, and a page made of the records of their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any

from afield.evaluation import Estimate
from afield.records import Record
from afield.reporting.document import Document, Section, Table, said
from afield.reporting.provenance import origin
from afield.reproduction.place import Place
from afield.reproduction.study import Study
from afield.reproduction.verdict import Verdict


@dataclass(frozen=True)
class Paper:
    """A paper, by what its experiments need and what is made of them.

    Attributes:
        name: of the command.
        title: of the page.
        studies: what is run.
        sections: of the page, from the records of finished runs.
    """

    name: str
    title: str
    studies: Callable[[Place], Iterable[Study]]
    sections: Callable[[Sequence[Record]], Sequence[Section]]


@dataclass(frozen=True)
class Judged:
    """A published number or claim beside ours: a row of the table of verdicts."""

    place: str
    published: str
    ours: Estimate | None
    verdict: Verdict
    sign: str = ""
    factor: float = 100
    digits: int = 1

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        n = str(self.ours.n) if self.ours else "0"
        return (
            self.place,
            self.published,
            said(self.ours, self.sign, digits=self.digits, factor=self.factor),
            n,
            str(self.verdict),
        )


LONG = 40
"""A reason of more characters that several verdicts share is given once, in the caption."""


def verdict_table(caption: str, judged: Sequence[Judged]) -> Table:
    """Published numbers beside ours, with a verdict for each."""
    count = Counter(each.verdict.why for each in judged)
    shared = [why for why, times in count.items() if times > 1 and len(why) > LONG]
    letters = dict(zip(shared, ascii_lowercase, strict=False))
    rows = [
        replace(each, verdict=each.verdict._replace(why=letters.get(each.verdict.why, each.verdict.why))).row()
        for each in judged
    ]
    notes = "".join(f" ({letter}) {why}." for why, letter in letters.items())
    return Table(f"{caption}{notes}", ("published", "there", "ours", "n", "verdict"), rows)


def document(paper: Paper, lines: Sequence[Record], about: dict[str, Any]) -> Document:
    """The page of a paper.

    Args:
        paper: which.
        lines: the records of finished runs.
        about: ``size``, ``command`` and ``tasks``, the number of runs in all.
    """
    seconds = sum(line.duration_s for line in lines)
    done = f"{len(lines)} of {about['tasks']} runs" if len(lines) < about["tasks"] else f"{len(lines)} runs"
    provenance = {"Runs": done, "Training": f"{seconds / 60:.0f} min in all", **(origin(lines) if lines else {})}
    lead = (f"Made by {about['command']}.", STAND_IN if about["size"] == "smoke" else "", UNITS)
    return Document(f"{paper.title}, {about['size']}", lead, tuple(paper.sections(lines)) if lines else (), provenance)


STAND_IN = (
    "The embedded digits replace the papers' images, and training is far too short. This size checks that everything "
    "works; its numbers are not results."
)
UNITS = (
    "In % unless a column says otherwise: mean ± standard deviation [95 % confidence interval] over seeds. Differences "
    "are paired over seeds. A claim is reproduced if the interval of the difference lies on the same side of zero. A "
    "number is reproduced if it lies in our interval and the setups agree."
)


def set_up(line: Record) -> str:
    """A run's setup in a sentence."""
    config = line.config
    backbone, training = config["backbone"], config["training"]
    size = config["data"]["image_size"]
    augment = "" if training["augment"] == "none" else f", {training['augment']}"
    selected = f"; {line.selection.rule.replace('_', ' ')}" if line.selection else ""
    return (
        f"{backbone['name']} ({backbone['stem']} stem, weights {backbone['weights']}, "
        f"{'frozen' if backbone['freeze'] else 'trained'}) at {size} px; {training['epochs']} epochs of "
        f"{training['optimizer']} at {training['learning_rate']:g} ({training['schedule']}), batch "
        f"{training['batch_size']}{augment}; {line.images['train']:,} training images{selected}."
    )
