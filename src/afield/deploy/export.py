"""Export of a trained model to ONNX."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.deploy.model import Model, Picture, upright
from afield.deploy.resize import resize
from afield.errors import InputError
from afield.pixels import as_floats, to_batch
from afield.records import write_atomic

OPSET = 18

TOLERANCE = 1e-4
"""Largest difference of a probability between the file and the model."""

SCRIPT = Path(__file__).with_name("onnx_predict.py")


def export_onnx(model: Model, path: Path, *, preprocess: bool = True, images: Sequence[Picture] = ()) -> Path:
    """Export a model as an ONNX graph that maps ``images`` to ``logits`` and ``probabilities`` ``[N, K]``, for every N.

    The images are uint8 RGB ``[N, H, W, 3]`` of any size: resizing and normalization are part of the graph. A script,
    ``predict.py``, is written beside the file and predicts image files without afield and torch. Without `preprocess`,
    the images are float32 ``[N, 3, H, W]`` of the model's size, RGB in [0, 1]; only normalization is part of the graph,
    and there is no script. The metadata contains the class names and the image size.

    Before the file is written, its probabilities are compared with those of the model.

    Args:
        model: model to export.
        path: file to write.
        preprocess: whether resizing is part of the graph.
        images: images for the comparison; by default, photographs that scikit-learn contains.

    Raises:
        InputError: if a required package is not installed, the probabilities differ by more than `TOLERANCE`, a file
            cannot be written, or ``predict.py`` would replace another file.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"export needs the package {package}: pip install 'afield[export]'")
    script = path.with_name("predict.py")
    text = SCRIPT.read_text(encoding="utf-8").replace('"model.onnx"', json.dumps(path.name))
    if preprocess and script.exists() and script.read_bytes().splitlines()[:1] != text.encode().splitlines()[:1]:
        raise InputError(f"{script} is another file and would be replaced; choose another folder for --out")
    content = _graph(model, preprocess)
    _check(model, content, preprocess, images or _photographs())
    try:
        write_atomic(path, content)
        if preprocess:
            write_atomic(script, text.encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return path


def _graph(model: Model, preprocess: bool) -> bytes:
    """The content of the ONNX file."""
    import onnx

    height, width = model.size
    example, sizes = torch.rand(2, 3, height, width), ("N",)
    if preprocess:
        example, sizes = torch.zeros(2, height + 1, width + 1, 3, dtype=torch.uint8), ("N", "H", "W")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Outputs(model, preprocess).eval(),
            (example,),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"images": {axis: torch.export.Dim(name, min=1) for axis, name in enumerate(sizes)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(
        proto,
        {
            "class_names": json.dumps(list(model.class_names)),
            "image_size": str(height) if height == width else f"{height} x {width}",
        },
    )
    return proto.SerializeToString()


class _Outputs(nn.Module):
    """Images, see `export_onnx` -> the logits and the probabilities ``[N, K]`` of a model."""

    def __init__(self, model: Model, preprocess: bool) -> None:
        super().__init__()
        self.classifier = model.classifier
        self.probabilities = model.probabilities
        self.size = model.size if preprocess else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.size is not None:
            pixels = resize(images.permute(0, 3, 1, 2).double(), self.size)
            images = as_floats(pixels.to(torch.uint8))
        logits = self.classifier.logits(images)
        return logits, self.probabilities(logits)


def _photographs() -> list[NDArray[np.uint8]]:
    """Two photographs, and parts of them: wide, high, and smaller than most models need."""
    from sklearn.datasets import load_sample_images

    first, second = load_sample_images().images
    return [first, second, first[:, 200:330], second[:90], second[200:215, 300:310]]


def _check(model: Model, content: bytes, preprocess: bool, images: Sequence[Picture]) -> None:
    """Raise `InputError` if the graph and the model give different probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def inputs(picture: Picture) -> NDArray:
        return np.asarray(upright(picture))[None] if preprocess else to_batch(np.stack([model.pixels(picture)])).numpy()

    for number, (picture, expected) in enumerate(zip(images, model.predict(images), strict=True), start=1):
        (found,) = session.run(["probabilities"], {"images": inputs(picture)})
        difference = float(np.abs(found[0] - [*expected.probabilities.values()]).max())
        if not difference <= TOLERANCE:
            raise InputError(
                f"the exported model differs from the model: on {expected.path or f'test image {number}'}, "
                f"a probability differs by {difference:.2g}, more than {TOLERANCE:g}; nothing was written"
            )
