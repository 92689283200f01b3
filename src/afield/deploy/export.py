"""Export of a trained model to ONNX."""

import importlib.util
import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from afield.deploy.model import Model
from afield.errors import InputError
from afield.records import write_atomic

OPSET = 18


def export_onnx(model: Model, path: Path) -> Path:
    """Export a model as an ONNX graph that maps ``images`` to ``logits`` and ``probabilities`` ``[N, K]``, for every N.

    The images are float32 ``[N, 3, H, W]``, RGB in [0, 1]. Normalization is part of the graph, and so is the
    temperature of the probabilities. The metadata contains the class names, the image size and the temperature.

    Raises:
        InputError: if a required package is not installed or the file cannot be written.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"export needs the package {package}: pip install 'afield[export]'")
    import onnx

    example = torch.rand(2, 3, *model.size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Outputs(model).eval(),
            (example,),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    height, width = model.size
    proto = program.model_proto
    onnx.helper.set_model_props(
        proto,
        {
            "class_names": json.dumps(list(model.class_names)),
            "image_size": str(height) if height == width else f"{height} x {width}",
            "temperature": str(model.confidence.temperature),
        },
    )
    try:
        write_atomic(path, proto.SerializeToString())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return path


class _Outputs(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] -> the logits and the probabilities ``[B, K]`` of a model."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.classifier = model.classifier
        self.probabilities = model.probabilities

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.classifier.logits(images)
        return logits, self.probabilities(logits)
