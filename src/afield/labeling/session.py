"""A labeling session: the images that browsers show, and the changes from their answers."""

import dataclasses
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afield.errors import InputError
from afield.labeling.audit import Fraction
from afield.labeling.label_file import NONE_OF_THESE, Row, write_labels
from afield.labeling.plan import in_order, plan
from afield.labeling.task import LabelingTask
from afield.objective import Objective

NEIGHBORS = 4


class ConflictError(Exception):
    """Another browser has labeled the image in the meantime."""


@dataclass(frozen=True)
class Settings:
    """How images are chosen during a session.

    Attributes:
        count: number of chosen images.
        strategy: name of the strategy; see `plan`.
        seed: see `plan`.
        near_duplicates: see `plan`.
        refit_every: number of new labels before the head is refitted and the remaining images are chosen again.
    """

    count: int
    strategy: str
    seed: int = 0
    near_duplicates: bool = False
    refit_every: int = 5


class Session:
    """The rows of a label file while browsers label them. Every change is written to the file before the answer.

    Each browser shows a different image, and each image is labeled once. A browser can undo only its own labels. All
    methods are thread-safe.

    Args:
        task: images.
        rows: planned rows of the label file.
        file: label file.
        settings: how images are chosen.
    """

    def __init__(self, task: LabelingTask, rows: list[Row], file: Path, settings: Settings) -> None:
        self.task, self.file, self.settings = task, file, settings
        self.rows = rows
        self._held: dict[str, str] = {}  # browser -> path
        self._skipped: list[str] = []
        self._history: dict[str, list[str]] = {}
        self._since_refit = 0
        self._lock, self._refreshing = threading.RLock(), threading.Lock()
        self._before = task.logits(task.objective)
        self._use(task.refitted(rows))

    def view(self, browser: str) -> dict[str, Any]:
        """The content of the page in a browser: image, prediction of the model, labeled neighbors, progress, audit."""
        with self._lock:
            row, following = self._next(browser)
            return {
                "classes": self.task.class_names,
                "image": None if row is None else self._image(row),
                "following": None if following is None else self._index(following),
                "progress": {
                    purpose: {"labeled": sum(bool(row.label) for row in part), "all": len(part)}
                    for purpose in ("audit", "chosen")
                    for part in [[row for row in self.rows if row.purpose == purpose]]
                },
                "audit": self._audit(),
                "fitted": self._fitted,
                "undo": bool(self._history.get(browser)),
            }

    def label(self, browser: str, index: int, label: str) -> None:
        """Label an image and write the file.

        Raises:
            ConflictError: if another browser has labeled the image.
            InputError: if the image is not to be labeled, or the class is unknown.
        """
        if label not in (*self.task.class_names, NONE_OF_THESE):
            raise InputError(f"unknown class {label!r}")
        with self._lock:
            row = self._row(index)
            if row.label:
                raise ConflictError(f"{row.path} was labeled {row.label} in another browser")
            self._write(row, label)
            self._release(browser, row)
            self._history.setdefault(browser, []).append(row.path)
            self._since_refit += 1

    def undo(self, browser: str) -> None:
        """Remove the last label of the browser and show its image again."""
        with self._lock:
            if history := self._history.get(browser):
                row = next(row for row in self.rows if row.path == history[-1])
                self._write(row, "")
                self._held[browser] = history.pop()

    def skip(self, browser: str, index: int) -> None:
        """Postpone an image until no other images are left."""
        with self._lock:
            row = self._row(index)
            if row.path in self._skipped:
                self._skipped.remove(row.path)
            self._skipped.append(row.path)
            self._release(browser, row)

    def listed(self, index: int) -> Path | None:
        """Return the file of an image; None if the image is not in the label file."""
        with self._lock:
            if not 0 <= index < len(self.task.paths):
                return None
            path = self.task.paths[index]
            return self.task.folder / path if any(row.path == path for row in self.rows) else None

    def refresh(self) -> None:
        """Refit the head and choose the remaining images again, if there are enough new labels.

        Images that are labeled in the meantime, and images that browsers show, are kept.
        """
        if self._since_refit < self.settings.refit_every or not self._refreshing.acquire(blocking=False):
            return
        try:
            with self._lock:
                self._since_refit = 0
                rows = [row for row in self.rows if row.purpose == "audit" or self._stays(row)]
            objective, count = self.task.refitted(rows), self.settings.count
            planned = self._planned(rows, objective)
            with self._lock:
                stays = {row.path: row for row in self.rows if self._stays(row)}
                merged = in_order([stays.pop(row.path, row) for row in planned] + list(stays.values()))
                spare = sum(row.purpose == "chosen" for row in merged) - count
                droppable = [row for row in reversed(merged) if row.purpose == "chosen" and not self._stays(row)]
                dropped = {row.path for row in droppable[: max(spare, 0)]}
                self._save([row for row in merged if row.path not in dropped])
                self._use(objective)
        finally:
            self._refreshing.release()

    def _planned(self, rows: list[Row], objective: Objective) -> list[Row]:
        chosen = sum(row.purpose == "chosen" for row in rows)
        count = min(self.settings.count, chosen + len(self.task.paths) - len(rows))
        options = {key: getattr(self.settings, key) for key in ("strategy", "seed", "near_duplicates")}
        return plan(self.task, rows, count, audit=0, objective=objective, **options)

    def _stays(self, row: Row) -> bool:
        return bool(row.label) or row.path in self._held.values() or row.path in self._skipped

    def _use(self, objective: Objective) -> None:
        self._logits = self.task.logits(objective)
        self._fitted = sum(row.purpose == "chosen" and bool(row.label) for row in self.rows)

    def _next(self, browser: str) -> tuple[Row | None, Row | None]:
        """Return the image of a browser and the next one; images that others show and skipped images come last."""
        others = {path for holder, path in self._held.items() if holder != browser}
        mine = self._held.get(browser)

        def order(row: Row) -> tuple[bool, bool, int]:
            skipped = row.path in self._skipped
            return row.path in others, row.path != mine and skipped, self._skipped.index(row.path) if skipped else -1

        left = sorted((row for row in self.rows if not row.label), key=lambda row: (row.path != mine, *order(row)))
        if left:
            self._held[browser] = left[0].path
        return (*left, None, None)[0], (*left, None, None)[1]

    def _release(self, browser: str, row: Row) -> None:
        if self._held.get(browser) == row.path:
            del self._held[browser]

    def _image(self, row: Row) -> dict[str, Any]:
        index = self._index(row)
        found: dict[str, Any] = {"index": index, "path": row.path, "purpose": row.purpose}
        if row.purpose == "audit":  # a guess would bias the labels that measure the model
            return found
        probability, guess = self._logits[index].softmax(dim=0).max(dim=0)
        guessed = {"label": self.task.class_names[int(guess)], "probability": float(probability)}
        return {**found, "guess": guessed, "neighbors": self._neighbors(index)}

    def _neighbors(self, index: int) -> list[dict[str, Any]]:
        rows = [row for row in self.rows if row.label not in ("", NONE_OF_THESE)]
        if not rows:
            return []
        distances = (self.task.features[self.task.indices(rows)] - self.task.features[index]).square().sum(dim=1)
        nearest = distances.argsort(stable=True)[:NEIGHBORS].tolist()
        return [{"index": self._index(rows[i]), "label": rows[i].label} for i in nearest]

    def _audit(self) -> dict[str, Any] | None:
        indices, labels = self.task.labeled(self.rows, "audit")
        if not len(labels):
            return None
        right = {"now": self._logits, "before": self._before}
        return {
            name: dataclasses.asdict(Fraction.of((logits[indices].argmax(dim=1) == labels).numpy()))
            for name, logits in right.items()
        }

    def _index(self, row: Row) -> int:
        return int(self.task.indices([row]))

    def _row(self, index: int) -> Row:
        path = self.task.paths[index] if 0 <= index < len(self.task.paths) else None
        for row in self.rows:
            if row.path == path:
                return row
        raise InputError(f"the label file contains no image {index}")

    def _write(self, row: Row, label: str) -> None:
        changed = dataclasses.replace(row, label=label)
        self._save([changed if each.path == row.path else each for each in self.rows])

    def _save(self, rows: list[Row]) -> None:
        write_labels(self.file, rows)
        self.rows = rows
