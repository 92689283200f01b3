"""A study of a paper, which is a named comparison, and the records of its runs for the page."""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from afield.comparison.analysis import read_predictions, wrong_class_probabilities
from afield.comparison.compare import RECORDS, check
from afield.comparison.grid import Comparison
from afield.data import parts_of
from afield.errors import InputError
from afield.evaluation import SELECTIONS, expected_calibration_error
from afield.launch.local import Executor
from afield.recipes import Recipe
from afield.records import Record, Selection, read_record, read_records
from afield.runs.config import ExperimentConfig
from afield.runs.execute import DONE, RECORD
from afield.runs.run import Measure, Run
from afield.training import Subset

Earlier = Mapping[tuple[str | None, str], Record]
"""Records of earlier calls by study and hash of the run."""


def earlier_records(out: Path) -> Earlier:
    """The records that an earlier call wrote into this folder, which may be all that is left of its runs."""
    return {(record.study, record.run): record for record in read_records(out)} if (out / RECORDS).exists() else {}


@contextmanager
def on_purpose() -> Iterator[None]:
    """Suppress warnings of intended settings of the papers: a scale of 1, and augmentors that collapse."""
    with warnings.catch_warnings():
        for message in ("scale=1 is below the floor", "the augmentor collapsed"):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


@dataclass(frozen=True, kw_only=True)
class Study(Comparison):
    """A comparison for one question on one data set.

    Attributes:
        name: name in each record.
        wrong_classes: whether records contain the mean probabilities of wrong classes.
        measure: computes additional details of the records from each trained classifier.
    """

    name: str
    wrong_classes: bool = False
    measure: Measure | None = None

    def runs(self) -> list[Run]:
        """See `Comparison`. A diverged run has a record and does not stop the other runs."""
        return [dataclasses.replace(run, measure=self.measure, may_diverge=True) for run in super().runs()]

    def records(self, executor: Executor, earlier: Earlier) -> list[Record]:
        """The records of finished runs, with the metrics of the selected epoch on each held-out part.

        Args:
            executor: executor of the runs.
            earlier: the records of runs whose folders may no longer exist.
        """
        found = []
        for run in self.runs():
            if (executor.folder(run) / DONE).exists():
                found.append(self._record(run, executor))
            elif record := earlier.get((self.name, run.hash)):
                found.append(record)
        return found

    def _record(self, run: Run, executor: Executor) -> Record:
        """The record of a run. For a diverged run, the metrics are at chance level."""
        record, data, rule = read_record(executor.folder(run) / RECORD), self.setup.data, self.selection
        names = list(data.class_names)
        details = {**record.details, "class_count": len(names), "classes": names if len(names) <= 20 else None}
        if not record.epochs:
            chance = {"accuracy": 1 / len(names), "map": 1 / len(names)}
            test = dict.fromkeys(run.held_out, chance)
            return dataclasses.replace(record, test=test, study=self.name, details=details)
        epoch, found = SELECTIONS[rule](record, (), "accuracy"), read_predictions([run], executor.folder, rule)
        if self.wrong_classes:
            details["wrong_classes"] = wrong_class_probabilities(data, [prediction for _, _, prediction in found])
        errors = {part: expected_calibration_error(logits, data.labels[i]) for _, part, (logits, i) in found}
        test = {part: {**record.epochs[epoch].test[part], "ece": error} for part, error in errors.items()}
        selection = Selection(rule, epoch + 1)
        return dataclasses.replace(record, selection=selection, test=test, study=self.name, details=details)


def test_images(run: Run) -> Subset:
    """The images of a given test set."""
    data = run.setup.data
    return Subset(data.images, data.labels, run.fold().tests["test"])


def runnable(setup: ExperimentConfig, recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The recipes that can be trained in this setup. For example, some need images, not features."""
    found = []
    for recipe in recipes:
        try:
            check([Run(setup, recipe, (part,), seed=0) for part in parts_of(setup.data)])
        except InputError:
            continue
        found.append(recipe)
    return tuple(found)
