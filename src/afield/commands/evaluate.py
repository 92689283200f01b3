"""``afield evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from afield.commands.model_options import InferenceOptions, ReviewOptions
from afield.commands.options import ImageOptions
from afield.errors import InputError


@dataclass(frozen=True)
class Evaluate(InferenceOptions, ReviewOptions, ImageOptions):
    """Evaluate a trained model on labeled images.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        tta: Test-time augmentation with mirror images, or with mirrored and shifted images (by a pixel). Its results
            are reported in separate columns.
        metric: Metric to show first: a name from `afield list metrics`.
        labels: Label file of a new place; --data is the folder of the images. The model is evaluated on the audit
            sample, with intervals.
        json: Print the result as JSON.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield evaluate runs/site-model --data new-site/",
        "afield evaluate runs/site-model --data new-site/ --target-accuracy 0.98",
    )

    model: Annotated[Path, tyro.conf.Positional] = Path("runs/train-digits")
    tta: Literal["mirror", "mirror_translate"] | None = None
    metric: str = "accuracy"
    labels: Path | None = None
    json: bool = False

    def run(self) -> dict[str, Any]:
        """Compute all metrics for each domain and for all images, with intervals, and the results of each class.

        With a label file: accuracy, balanced accuracy and recall of each class, with intervals.
        """
        from afield.deploy import evaluate, load
        from afield.deploy.label import measure
        from afield.evaluation import METRICS
        from afield.labeling.label_file import read_labels

        METRICS.entry(self.metric)
        self.check()
        model = load(self.model, precision=self.precision)
        if self.labels is not None:
            return measure(model, Path(self.data), read_labels(Path(self.labels), model.class_names))
        if self.image_size not in (None, model.image_size):
            raise InputError(f"--image-size {self.image_size}: this model needs images of {model.image_size} pixels")
        data = self.load_data(model.image_size, min_classes=1)
        return evaluate(model, data, self.tta, metric=self.metric, threshold=self.threshold_of(model))
