"""The function that classifies batches: with ONNX Runtime if it is installed, otherwise with PyTorch."""

import importlib.util
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afield.deploy.export import checked_graph, photographs
from afield.deploy.model import Model
from afield.deploy.onnx_graph import onnx_probabilities
from afield.errors import InputError
from afield.pixels import to_batch
from afield.serving.batches import Classify

Runtime = Literal["auto", "onnx", "torch"]

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def choose_runtime(runtime: Runtime) -> Literal["onnx", "torch"]:
    """ONNX Runtime, if its packages are installed or it is demanded.

    Raises:
        InputError: if it is demanded and a package is not installed.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if runtime == "onnx" and missing:
        raise InputError(f"--runtime onnx needs the package {missing[0]}: pip install 'afield[export]'")
    return "torch" if runtime == "torch" or missing else "onnx"


def make_classify(model: Model, runtime: Literal["onnx", "torch"], threads: int = 0) -> Classify:
    """A function from images ``[N, H, W, 3]`` of the model's size to probabilities ``[N, K]``.

    Args:
        model: trained model.
        runtime: what computes. The ONNX graph is compared with the model on photographs first.
        threads: threads of ONNX Runtime; 0 is one for each core.
    """

    def with_torch(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return model.probabilities(model.logits(images)).numpy()

    if runtime == "torch":
        return with_torch
    graph, _ = checked_graph(model, {}, photographs(), preprocess=False)
    run = onnx_probabilities(graph.SerializeToString(), threads)
    return lambda images: run(to_batch(images).numpy())
