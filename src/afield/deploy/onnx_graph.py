"""A trained model as an ONNX graph, and its probabilities with ONNX Runtime."""

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from afield.deploy.outputs import Outputs

OPSET = 18


def make_graph(outputs: Outputs, properties: Mapping[str, str]) -> Any:
    """The module as an ONNX model that maps ``images`` to ``logits`` and ``probabilities``, with these properties."""
    import onnx

    images, axes = outputs.example()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            outputs.eval(),
            (images,),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes=axes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, dict(properties))
    return graph


def onnx_probabilities(content: bytes, threads: int = 0) -> Callable[[NDArray], NDArray[np.float32]]:
    """A function from the images of a graph to probabilities ``[N, K]``. With 0 threads, each core has one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]
