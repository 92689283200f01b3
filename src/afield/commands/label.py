"""``afield label``: select images of a new place, and label them in a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from afield.commands.options import ImageOptions
from afield.validation import check_number

if TYPE_CHECKING:
    from afield.labeling.label_file import Row
    from afield.labeling.task import LabelingTask


@dataclass(frozen=True)
class Label:
    """Select images of a new place to label, and label them in a local page.

    The label file has the columns path, label and purpose. Its audit images are drawn at random and measure the model;
    its chosen images improve the model. The same command continues a label file.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        folder: Folder of the images of the new place.
        count: Number of chosen images, including those that are already in the label file.
        audit: Number of images in the audit sample, in addition to the chosen images; by default 30 for a new label
            file, otherwise the number in the file.
        strategy: Strategy that chooses the images: a name from `afield list strategies`.
        csv: Label file.
        page: Open the labeling page. Without it, the command only writes the label file.
        near_duplicates: Also choose near duplicates of chosen and labeled images.
        data: Training data of the model. With it, the head is refitted on training images too.
        sequences: CSV file with the columns path and sequence, for the strategy structured; by default, the images of
            each folder form a sequence, in the order of their names. No sequence of the file has both audit and chosen
            images.
        tasks: JSON file to which the images are also written, as tasks for Label Studio.
        annotations: JSON export of Label Studio from which labels are read first.
        on_bad_image: What to do with files that are not images: stop, or skip them.
        seed: Seed of the audit sample and of the strategy.
        port: Port of the page; by default, any free port.
        open: Open the page in the browser.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield label runs/site-model new-site/ --count 50",
        "afield label runs/site-model new-site/ --no-page --tasks tasks.json",
    )

    model: Annotated[Path, tyro.conf.Positional]
    folder: Annotated[Path, tyro.conf.Positional]
    count: int = 50
    audit: int | None = None
    strategy: str = "clue"
    csv: Path = Path("labels.csv")
    page: bool = True
    near_duplicates: bool = False
    data: str | None = None
    sequences: Path | None = None
    tasks: Path | None = None
    annotations: Path | None = None
    on_bad_image: Literal["error", "skip"] = "error"
    seed: int = 0
    port: int = 0
    open: bool = True

    def run(self) -> list[Row]:
        """Plan the label file and label it in the page. Returns the rows of the file."""
        from afield.labeling.label_file import held, write_labels
        from afield.labeling.label_studio import write_tasks
        from afield.labeling.plan import plan

        self._check()
        file = Path(self.csv)
        with held(file):
            task, rows = self._load()
            rows = plan(
                task,
                rows,
                self.count,
                audit=self.audit,
                strategy=self.strategy,
                seed=self.seed,
                near_duplicates=self.near_duplicates,
            )
            write_labels(file, rows)
            if self.tasks is not None:
                write_tasks(Path(self.tasks), rows)
            return self._serve(task, rows) if self.page else rows

    def _check(self) -> None:
        """Reject invalid options before any image is read."""
        import importlib.util

        from afield.errors import InputError
        from afield.labeling import STRATEGIES

        check_number("--count", self.count, 1, 1_000_000, whole=True)
        if self.audit is not None:
            check_number("--audit", self.audit, 0, 1_000_000, whole=True)
        check_number("--port", self.port, 0, 65535, whole=True)
        STRATEGIES.entry(self.strategy)
        for package in ("starlette", "uvicorn") if self.page else ():
            if importlib.util.find_spec(package) is None:
                raise InputError(f"the page needs the package {package}: pip install 'afield[label]'")

    def _load(self) -> tuple[LabelingTask, list[Row]]:
        """Load the images and the rows of the label file, with labels from Label Studio."""
        from afield.console import watching
        from afield.deploy import load
        from afield.deploy.label import labeling_task
        from afield.errors import InputError
        from afield.labeling.label_file import merged, read_labels
        from afield.labeling.label_studio import read_annotations

        model, file = load(self.model), Path(self.csv)
        if self.strategy == "learning_loss" and model.classifier.loss_prediction is None:
            raise InputError(
                f"strategy learning_loss needs a model that predicts losses, and {self.model} does not; "
                "`afield train --recipe learning_loss` trains one"
            )
        rows = read_labels(file, model.class_names) if file.exists() else []
        if self.annotations is not None:
            rows = merged(rows, read_annotations(Path(self.annotations), model.class_names))
        with watching() as callback:
            source = None
            if self.data is not None:
                options = ImageOptions(self.data, image_size=model.image_size, on_bad_image=self.on_bad_image)
                source = options.load_data(model.image_size, callback.decode)
            task = labeling_task(
                model,
                Path(self.folder),
                source,
                sequences=self.sequences,
                on_bad_image=self.on_bad_image,
                progress=callback.features,
            )
        task.indices(rows)
        return task, rows

    def _serve(self, task: LabelingTask, rows: list[Row]) -> list[Row]:
        import webbrowser

        from afield.labeling.page.app import serve
        from afield.labeling.session import Session, Settings

        settings = Settings(self.count, self.strategy, self.seed, self.near_duplicates)
        session = Session(task, rows, Path(self.csv), settings)

        def ready(address: str) -> None:
            print(f"labeling page: {address} (Ctrl-C ends it; every label is saved in {self.csv})", flush=True)
            if self.open:
                webbrowser.open(address)

        serve(session, self.port, ready)
        return session.rows
