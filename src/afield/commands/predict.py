"""``afield predict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from afield.commands.model_options import InferenceOptions, ReviewOptions
from afield.errors import InputError
from afield.validation import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.deploy import Model, Prediction
    from afield.deploy.prediction_file import Written


@dataclass(frozen=True)
class Predict(InferenceOptions, ReviewOptions):
    """Predict the classes of image files and of all images in folders.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        images: Image files and folders.
        out: File of predictions, whose name ends with .csv, .jsonl or .parquet. It is written while images are
            predicted, and the same command continues it. Without it, predictions are printed.
        top_k: Number of classes in each row of --out, with their probabilities.
        embeddings: Add the features of each image to its row of --out.
        json: Print one JSON object per line, with the probabilities of all classes.
        on_bad_image: What to do with files that are not images: stop, or skip them.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield predict runs/site-model a.jpg some-folder/",
        "afield predict runs/site-model some-folder/ --out predictions.csv --target-accuracy 0.95",
    )

    model: Annotated[Path, tyro.conf.Positional]
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    out: Path | None = None
    top_k: int = 1
    embeddings: bool = False
    json: bool = False
    on_bad_image: Literal["error", "skip"] = "error"

    def run(self) -> list[Prediction] | Written:
        """Return one prediction per image, in order; with a file, what was written to it."""
        from afield.deploy import load
        from afield.deploy.predict import image_paths, predict_files
        from afield.deploy.prediction_formats import check_file

        images = [Path(path) for path in self.images]
        if not images:
            raise InputError("no images to predict; give image files or folders: afield predict MODEL IMAGES")
        check_number("--top-k", self.top_k, 1, 1000, whole=True)
        self.check()
        if self.out is None:
            given = {"--top-k": self.top_k > 1, "--embeddings": self.embeddings, "--threshold": self.threshold}
            if only := [name for name, value in given.items() if value]:
                raise InputError(f"{only[0]} needs --out FILE")
            return predict_files(load(self.model, precision=self.precision), images, self.on_bad_image)
        check_file(Path(self.out))
        return self._write(load(self.model, precision=self.precision), image_paths(*images), Path(self.out))

    def _write(self, model: Model, files: Sequence[Path], out: Path) -> Written:
        from afield.console import watching
        from afield.deploy.hub import model_folder
        from afield.deploy.prediction_columns import Columns
        from afield.deploy.prediction_file import write_predictions
        from afield.deploy.source import Source

        check_number("--top-k", self.top_k, 1, len(model.class_names), whole=True)
        source = Source.load(model_folder(self.model), model)
        statistics = None if source is None else source.statistics
        columns = Columns(self.threshold_of(model), statistics, self.top_k, self.embeddings)
        with watching() as callback:
            return write_predictions(model, files, out, columns, self.on_bad_image, callback.predict)
