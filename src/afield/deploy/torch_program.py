"""A trained model as a program of `torch.export`, which PyTorch runs without the code of the model."""

import io
import json
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from afield.deploy.outputs import Outputs

METADATA = "metadata.json"
"""Name of the metadata among the extra files of a program."""


def make_program(outputs: Outputs, properties: Mapping[str, str]) -> bytes:
    """The module as the content of a ``.pt2`` file. Its extra file `METADATA` contains the properties."""
    images, axes = outputs.example()
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(outputs.eval(), (images,), dynamic_shapes=axes)
        torch.export.save(program, content, extra_files={METADATA: json.dumps(dict(properties))})
    return content.getvalue()


def program_probabilities(content: bytes) -> Callable[[NDArray], NDArray[np.float32]]:
    """A function from the images of a program to probabilities ``[N, K]``."""
    run = torch.export.load(io.BytesIO(content)).module()

    def probabilities(images: NDArray) -> NDArray[np.float32]:
        with torch.no_grad():
            return run(torch.from_numpy(np.array(images)))[1].numpy()

    return probabilities
