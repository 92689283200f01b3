"""The definition of a paper, with its studies and the sections of its page."""

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
    """A paper with its studies and the sections of its page.

    Attributes:
        name: name in the command.
        title: title of the page.
        studies: creates the studies.
        sections: functions that create the sections of the page from the records of finished runs, in order. They omit
            the parts whose runs are not finished.
    """

    name: str
    title: str
    studies: Callable[[Place], Iterable[Study]]
    sections: Sequence[Callable[[Sequence[Record]], Iterator[Section]]]


@dataclass(frozen=True)
class Judged:
    """A published number or claim with our result, a row in the table of verdicts."""

    place: str
    published: str
    ours: Estimate | None
    verdict: Verdict
    sign: str = ""
    factor: float = 100
    digits: int = 1

    @classmethod
    def value(cls, place: str, published: float, ours: seeds.BySeed, differences: Sequence[str]) -> Judged:
        """Compare a published number with our mean, given the differences between the setups; see `judge_value`."""
        mean = seeds.over(ours)
        return cls(place, f"{100 * published:.2f}", mean, judge_value(published, mean, differences))

    @classmethod
    def difference(
        cls,
        place: str,
        claimed: float,
        ours: Estimate | None,
        printed: str = "",
        *,
        tolerance: float = 0.0,
        hollow: str = "",
        setups: str = "",
    ) -> Judged:
        """Compare a claimed difference with ours; see `judge_difference`.

        `printed` replaces the number in the table, for claims without a number.
        """
        verdict = judge_difference(claimed, ours, tolerance=tolerance, hollow=hollow, setups=setups)
        return cls(place, printed or f"{100 * claimed:+.2f}", ours, verdict, "+")

    def row(self, why: str) -> dict[str, str]:
        """The cells of the table, with `why` as the reason of the verdict."""
        return {
            "number or claim": self.place,
            "paper": self.published,
            "ours": said(self.ours, self.sign, digits=self.digits, factor=self.factor),
            "n": str(self.ours.n) if self.ours else "0",
            "verdict": str(self.verdict._replace(why=why)),
        }


LONG = 40
"""Length above which a reason that occurs several times is moved to the caption."""


def verdict_table(caption: str, judged: Sequence[Judged]) -> Table:
    """A table of published numbers with our numbers and verdicts."""
    count = Counter(each.verdict.why for each in judged)
    shared = [why for why, times in count.items() if times > 1 and len(why) > LONG]
    letters = dict(zip(shared, ascii_lowercase, strict=False))
    notes = "".join(f" ({letter}) {why}." for why, letter in letters.items())
    return Table.of(f"{caption}{notes}", [each.row(letters.get(each.verdict.why, each.verdict.why)) for each in judged])


def document(paper: Paper, lines: Sequence[Record], about: dict[str, Any]) -> Document:
    """Create the page of a paper.

    Args:
        paper: paper.
        lines: records of finished runs.
        about: ``size``, ``command`` and ``tasks``, the total number of runs.
    """
    seconds = sum(line.duration_s for line in lines)
    done = f"{len(lines)} of {about['tasks']} runs" if len(lines) < about["tasks"] else f"{len(lines)} runs"
    provenance = {"Runs": done, "Training": f"{seconds / 60:.0f} min in total", **(origin(lines) if lines else {})}
    lead = (f"Created by {about['command']}.", STAND_IN if about["size"] == "smoke" else "", UNITS)
    sections = tuple(section for part in paper.sections for section in part(lines)) if lines else ()
    return Document(f"{paper.title}, {about['size']}", lead, sections, provenance)


STAND_IN = (
    "The embedded digits replace the images of the papers, and training is far too short. This size only tests that "
    "everything works; its numbers are not results."
)
UNITS = (
    "Values are in %, unless a column states another unit: mean ± standard deviation [95 % confidence interval] over "
    "seeds, on these domains. Differences are paired by seed. A claim is reproduced if the interval of the difference "
    "lies on the same side of zero; it holds for the setups that the verdict names. A difference to a method that does "
    "not train on our setup is not comparable. A number is reproduced if it lies in our interval and the setups agree."
)


def study_caption(lines: Sequence[Record]) -> str:
    """The name of a study, its setup and its number of seeds, as text."""
    tuning = lines[0].config.get("tuning")
    then = (
        f" Then {tuning['epochs']} epochs with learning rate {tuning['learning_rate']:g} and the augmentation of the "
        "recipe."
        if tuning
        else ""
    )
    return f"{lines[0].study}: {set_up(lines[0])}{then} n = {len({line.seed for line in lines})} seeds."


def learning_steps(lines: Sequence[Record]) -> str:
    """The number of steps in which the augmentations of these runs were learned, or the range of it, as text.

    Records of earlier versions can lack the epochs and the batch size. They had as many epochs as their settings, of
    one pass each, with batches of 128 images.
    """
    found = set()
    for line in lines:
        if line.learned:
            settings, count = line.learned.settings, line.images["train"]
            of_pass = count // min(settings.get("batch_size", 128), count)
            epochs = len(line.learned.epochs) - 1 if line.learned.epochs else settings["epochs"]
            found.add(epochs * of_pass * -(-settings.get("epoch_steps", 1) // of_pass))
    return " to ".join(f"{each:,}" for each in sorted({min(found), max(found)})) if found else ""


def set_up(line: Record) -> str:
    """The setup of a run, as a sentence."""
    config = line.config
    backbone, training = config["backbone"], config["training"]
    size = config["data"]["image_size"]
    augment = "" if training["augment"] == "none" else f", {training['augment']}"
    selected = f"; selection: {line.selection.rule.replace('_', ' ')}" if line.selection else ""
    return (
        f"{backbone['name']} ({backbone['stem']} stem, weights {backbone['weights']}, "
        f"{'frozen' if backbone['freeze'] else 'trained'}) at {size} px; {training['epochs']} epochs of "
        f"{training['optimizer']}, learning rate {training['learning_rate']:g} ({training['schedule']}), batch size "
        f"{training['batch_size']}{augment}; {line.images['train']:,} training images{selected}."
    )
