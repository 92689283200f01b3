"""``afield export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from afield.commands.model_options import ReviewOptions

if TYPE_CHECKING:
    from afield.deploy.export import Exported


@dataclass(frozen=True)
class Export(ReviewOptions):
    """Write a trained model as a file that is used without afield: ONNX, or a program of torch.export.

    The file maps images of any size to probabilities. It is checked on photographs before it is written. Beside an ONNX
    file, predict.py is written, which predicts with ONNX Runtime, Pillow and NumPy alone.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        out: File to write, whose name ends with .onnx or .pt2. The script is written to the same folder.
        preprocess: Include the resizing of images. Otherwise, the file takes images of the model's size with values
            between 0 and 1, and no script is written.
        images: Image files and folders for the check; by default, photographs that scikit-learn contains.
        int8: Let the backbone of an ONNX file compute with 8-bit integers. Half of --images calibrate, half of them
            measure the difference to the model; also in accuracy, if each image is in a folder named by its class.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield export runs/site-model --out model.onnx",
        "afield export runs/site-model --out small.onnx --int8 --images photos/",
    )

    model: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("model.onnx")
    preprocess: bool = True
    images: tuple[Path, ...] = ()
    int8: bool = False

    def run(self) -> Exported:
        """Write the file. Returns its path and its comparison with the model."""
        from afield.deploy import export_model, load
        from afield.deploy.export import check_target
        from afield.deploy.predict import image_paths

        self.check()
        out = Path(self.out)
        check_target(out, preprocess=self.preprocess, int8=self.int8)
        model = load(self.model)
        return export_model(
            model,
            out,
            preprocess=self.preprocess,
            images=[file for path in self.images for file in image_paths(Path(path))],
            int8=self.int8,
            threshold=self.threshold_of(model),
        )
