"""Quantization of an exported backbone to 8-bit integers, and the measurement of what it costs."""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.deploy.model import Picture, Prediction
from afield.errors import InputError
from afield.evaluation.statistics import wilson

FEWEST = 20
"""Smallest number of images: half of them calibrate, half of them measure."""

CALIBRATED = 500
"""Largest number of images that calibrate."""

OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Clip", "Relu", "MaxPool", "AveragePool", "ReduceMean")


@dataclass(frozen=True)
class Int8Loss:
    """Predictions with 8-bit integers, compared with those of the model on images that did not calibrate.

    Attributes:
        images: number of images.
        calibration_images: number of images that set the ranges of the activations.
        agreement: fraction of images with the same predicted class.
        agreement_ci95: 95 % interval of this fraction for other images of this kind.
        largest_difference: largest difference of a probability.
        accuracy: accuracy with 8-bit integers; None unless each image is in a folder with the name of its class.
        model_accuracy: accuracy of the model on the same images; None likewise.
    """

    images: int
    calibration_images: int
    agreement: float
    agreement_ci95: tuple[float, float]
    largest_difference: float
    accuracy: float | None
    model_accuracy: float | None

    @classmethod
    def of(cls, calibration_images: int, expected: Sequence[Prediction], found: NDArray[np.float32]) -> "Int8Loss":
        """Compare the probabilities ``[N, K]`` with the predictions of the model for the same N image files."""
        names = list(expected[0].probabilities)
        before = np.array([[*each.probabilities.values()] for each in expected])
        same = int((before.argmax(axis=1) == found.argmax(axis=1)).sum())
        folders = [Path(each.path or "").parent.name for each in expected]
        right: list[float | None] = [None, None]
        if set(folders) <= set(names):
            labels = np.array([names.index(folder) for folder in folders])
            right = [float((rows.argmax(axis=1) == labels).mean()) for rows in (found, before)]
        interval, largest = wilson(same, len(found)), float(np.abs(before - found).max())
        return cls(len(found), calibration_images, same / len(found), interval, largest, *right)

    def metadata(self) -> dict[str, str]:
        """The measurements as one property of an ONNX file."""
        return {"int8": json.dumps(asdict(self))}

    def __str__(self) -> str:
        low, high = self.agreement_ci95
        text = (
            f"int8: the same class as the model on {100 * self.agreement:.1f} % of {self.images} images "
            f"[{100 * low:.1f}, {100 * high:.1f}]; the largest difference of a probability is "
            f"{self.largest_difference:.3f}"
        )
        if self.accuracy is None or self.model_accuracy is None:
            return text
        return f"{text}; accuracy {100 * self.accuracy:.1f} %, of the model {100 * self.model_accuracy:.1f} %"


def parted(images: Sequence[Picture]) -> tuple[Sequence[Picture], Sequence[Picture]]:
    """Every second image for calibration, at most `CALIBRATED`, and the others for measuring.

    Raises:
        InputError: if there are fewer than `FEWEST` images.
    """
    if len(images) < FEWEST:
        raise InputError(
            f"--int8 needs at least {FEWEST} images like those to predict, got {len(images)}: give --images"
        )
    return images[::2][:CALIBRATED], images[1::2]


def quantized(graph: Any, inputs: Iterable[NDArray]) -> bytes:
    """A graph whose backbone computes with 8-bit integers; resizing, normalization and head remain in floating point.

    Weights have a scale for each channel, activations have the range that they have on these inputs (ONNX Runtime's
    static quantization).

    Args:
        graph: ONNX model from `make_graph`; it is not changed.
        inputs: inputs ``[1, ...]`` of the graph.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> dict[str, NDArray] | None:
            found = next(self.left, None)
            return None if found is None else {"images": found}

    copy = type(graph).FromString(graph.SerializeToString())
    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            copy,
            file,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=[node.name for node in graph.graph.node if not _in_backbone(node)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return file.read_bytes()


def _in_backbone(node: Any) -> bool:
    """Whether a node comes from a module with the name ``backbone``, by the scopes that PyTorch notes in each node."""
    scopes = [entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
    return any(part.strip("' []").endswith("backbone") for text in scopes for part in text.split(","))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the advice to fold batch normalization, which PyTorch has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
