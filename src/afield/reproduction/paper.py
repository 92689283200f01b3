"""A paper: its studies at a size, and a page made of the records of their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from afield.evaluation import Estimate
from afield.records import Record
from afield.reporting.document import Document, Section, Table, said
from afield.reporting.provenance import origin
from afield.reproduction import seeds
from afield.reproduction.place import Place
from afield.reproduction.study import Study
from afield.reproduction.verdict import Verdict, judge_difference, judge_value


@dataclass(frozen=True)
class Paper:
    """A paper, by what its experiments need and what is made of them.

    Attributes:
        name: of the command.
        title: of the page.
        studies: what is run.
        sections: of the page, in order, from the records of finished runs; each yields what these suffice for.
    """

    name: str
    title: str
    studies: Callable[[Place], Iterable[Study]]
    sections: Sequence[Callable[[Sequence[Record]], Iterator[Section]]]


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

    @classmethod
    def value(cls, place: str, published: float, ours: seeds.BySeed, differences: Sequence[str]) -> Judged:
        """A published number beside our mean, with the differences of the setups; see `judge_value`."""
        mean = seeds.over(ours)
        return cls(place, f"{100 * published:.2f}", mean, judge_value(published, mean, differences))

    @classmethod
    def difference(
        cls, place: str, claimed: float, ours: Estimate | None, printed: str = "", *, tolerance: float = 0.0
    ) -> Judged:
        """A claimed difference beside ours, see `judge_difference`; `printed` where the paper has no number for it."""
        verdict = judge_difference(claimed, ours, tolerance=tolerance)
        return cls(place, printed or f"{100 * claimed:+.2f}", ours, verdict, "+")

    def row(self, why: str) -> dict[str, str]:
        """Cells of the table, with the reason in other words."""
        return {
            "published": self.place,
            "there": self.published,
            "ours": said(self.ours, self.sign, digits=self.digits, factor=self.factor),
            "n": str(self.ours.n) if self.ours else "0",
            "verdict": str(self.verdict._replace(why=why)),
        }


LONG = 40
"""A reason of more characters that several verdicts share is given once, in the caption."""


def verdict_table(caption: str, judged: Sequence[Judged]) -> Table:
    """Published numbers beside ours, with a verdict for each."""
    count = Counter(each.verdict.why for each in judged)
    shared = [why for why, times in count.items() if times > 1 and len(why) > LONG]
    letters = dict(zip(shared, ascii_lowercase, strict=False))
    notes = "".join(f" ({letter}) {why}." for why, letter in letters.items())
    return Table.of(f"{caption}{notes}", [each.row(letters.get(each.verdict.why, each.verdict.why)) for each in judged])


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
    sections = tuple(section for part in paper.sections for section in part(lines)) if lines else ()
    return Document(f"{paper.title}, {about['size']}", lead, sections, provenance)


STAND_IN = (
    "The embedded digits replace the papers' images, and training is far too short. This size checks that everything "
    "works; its numbers are not results."
)
UNITS = (
    "In % unless a column says otherwise: mean ± standard deviation [95 % confidence interval] over seeds. Differences "
    "are paired over seeds. A claim is reproduced if the interval of the difference lies on the same side of zero. A "
    "number is reproduced if it lies in our interval and the setups agree."
)


def study_caption(lines: Sequence[Record]) -> str:
    """The name of a study, its setup and its number of seeds, in a sentence."""
    return f"{lines[0].study}: {set_up(lines[0])} n = {len({line.seed for line in lines})} seeds."


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
