"""Export of a trained model to a file that is used without afield: an ONNX graph, or a program of `torch.export`."""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.deploy.model import Model, Picture, upright
from afield.deploy.onnx_graph import make_graph, onnx_probabilities
from afield.deploy.outputs import Outputs, metadata
from afield.deploy.quantize import Int8Loss, parted, quantized
from afield.deploy.torch_program import make_program, program_probabilities
from afield.errors import InputError
from afield.pixels import to_batch
from afield.records import write_atomic

SUFFIXES = (".onnx", ".pt2")

TOLERANCE = 1e-4
"""Largest difference of a probability between the file and the model."""

SCRIPT = Path(__file__).with_name("onnx_predict.py")


@dataclass(frozen=True)
class Exported:
    """An exported file, and its comparison with the model.

    Attributes:
        path: the file.
        images: number of images of the comparison.
        largest_difference: largest difference of a probability between the file, before quantization, and the model.
        int8: comparison of the quantized file with the model; None if it is not quantized.
    """

    path: Path
    images: int
    largest_difference: float
    int8: Int8Loss | None = None


def export_model(
    model: Model,
    path: Path,
    *,
    preprocess: bool = True,
    images: Sequence[Picture] = (),
    int8: bool = False,
    threshold: float | None = None,
) -> Exported:
    """Export a model as a function from ``images`` to ``logits`` and ``probabilities`` ``[N, K]``, for every N.

    The images are uint8 RGB ``[N, H, W, 3]`` of any size: resizing and normalization are part of the file. Beside an
    ONNX file, a script, ``predict.py``, is written, which predicts image files without afield and torch. Without
    `preprocess`, the images are float32 ``[N, 3, H, W]`` of the model's size, RGB in [0, 1]; only normalization is part
    of the file, and there is no script. The probabilities have the model's temperature. The metadata contains the class
    names, the image size, the temperature and the threshold.

    Before the file is written, its probabilities are compared with those of the model.

    Args:
        model: model to export.
        path: file to write: ``.onnx``, or ``.pt2`` for a program of `torch.export`.
        preprocess: whether resizing is part of the file.
        images: images for the comparison; by default, photographs that scikit-learn contains.
        int8: whether the backbone computes with 8-bit integers (ONNX only). Half of the images calibrate, half of them
            measure the difference to the model.
        threshold: probability below which a person looks at an image.

    Raises:
        InputError: if the suffix is another, a required package is not installed, the probabilities differ by more than
            `TOLERANCE`, there are too few images for `int8`, a file cannot be written, or ``predict.py`` would replace
            another file.
    """
    check_target(path, preprocess=preprocess, int8=int8)
    calibrating, measuring = parted(images) if int8 else ((), ())
    pictures, properties = images or photographs(), metadata(model, threshold)
    loss = None
    if path.suffix == ".pt2":
        content = make_program(Outputs(model, preprocess), properties)
        largest = _difference(model, program_probabilities(content), pictures, preprocess)
    else:
        graph, largest = checked_graph(model, properties, pictures, preprocess=preprocess)
        content = graph.SerializeToString()
        if int8:
            content = quantized(graph, (_inputs(model, picture, preprocess) for picture in calibrating))
            run = onnx_probabilities(content)
            found = np.concatenate([run(_inputs(model, picture, preprocess)) for picture in measuring])
            loss = Int8Loss.of(len(calibrating), model.predict(measuring), found)
            content = _with_properties(content, {**properties, **loss.metadata()})
    try:
        write_atomic(path, content)
        if script := _script(path, preprocess):
            write_atomic(script, _script_text(path).encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return Exported(path, len(pictures), largest, loss)


def checked_graph(
    model: Model, properties: Mapping[str, str], images: Sequence[Picture], *, preprocess: bool
) -> tuple[Any, float]:
    """The model as an ONNX model with these properties, and the largest difference of a probability on images.

    Raises:
        InputError: if a probability differs by more than `TOLERANCE`.
    """
    graph = make_graph(Outputs(model, preprocess), properties)
    return graph, _difference(model, onnx_probabilities(graph.SerializeToString()), images, preprocess)


def check_target(path: Path, *, preprocess: bool, int8: bool) -> None:
    """Raise `InputError` if the file cannot be written for a reason that is known before the model is read."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out must end with {' or '.join(SUFFIXES)}, got {path}")
    if int8 and path.suffix != ".onnx":
        raise InputError(f"--int8 needs a file that ends with .onnx, got {path}")
    for package in ("onnx", "onnxscript", "onnxruntime") if path.suffix == ".onnx" else ():
        if importlib.util.find_spec(package) is None:
            raise InputError(f"export needs the package {package}: pip install 'afield[export]'")
    script = _script(path, preprocess)
    if script and script.exists() and script.read_bytes().splitlines()[:1] != SCRIPT.read_bytes().splitlines()[:1]:
        raise InputError(f"{script} is another file and would be replaced; choose another folder for --out")


def _script(path: Path, preprocess: bool) -> Path | None:
    return path.with_name("predict.py") if preprocess and path.suffix == ".onnx" else None


def _script_text(path: Path) -> str:
    return SCRIPT.read_text(encoding="utf-8").replace('"model.onnx"', json.dumps(path.name))


def _with_properties(content: bytes, properties: dict[str, str]) -> bytes:
    import onnx

    graph = onnx.load_from_string(content)
    onnx.helper.set_model_props(graph, properties)
    return graph.SerializeToString()


def photographs() -> list[NDArray[np.uint8]]:
    """Two photographs, and parts of them: wide, high, and smaller than most models need."""
    from sklearn.datasets import load_sample_images

    first, second = load_sample_images().images
    return [first, second, first[:, 200:330], second[:90], second[200:215, 300:310]]


def _inputs(model: Model, picture: Picture, preprocess: bool) -> NDArray:
    """One picture as the exported file takes it."""
    return np.asarray(upright(picture))[None] if preprocess else to_batch(np.stack([model.pixels(picture)])).numpy()


def _difference(
    model: Model, probabilities: Callable[[NDArray], NDArray[np.float32]], pictures: Sequence[Picture], preprocess: bool
) -> float:
    """The largest difference of a probability. Raises `InputError` if it is more than `TOLERANCE`.

    Both models take the images at full size, also those that `Model.predict` would decode at a reduced scale.
    """
    largest = 0.0
    for number, picture in enumerate(pictures, start=1):
        image = np.asarray(upright(picture))
        (expected,) = model.predict([image])
        found = probabilities(_inputs(model, image, preprocess))
        difference = float(np.abs(found[0] - [*expected.probabilities.values()]).max())
        if not difference <= TOLERANCE:
            path = picture if isinstance(picture, str | Path) else f"test image {number}"
            raise InputError(
                f"the exported model differs from the model: on {path}, "
                f"a probability differs by {difference:.2g}, more than {TOLERANCE:g}; nothing was written"
            )
        largest = max(largest, difference)
    return largest
