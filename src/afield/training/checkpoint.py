"""Checkpoints: named tensors and a JSON state in one safetensors file, written atomically, without pickle."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from afield.errors import InputError, first_line
from afield.records import write_atomic


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-serializable state atomically."""
    ready = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(state)  # preceded by the checksum: safetensors does not keep the order of two entries
    write_atomic(path, safetensors.torch.save(ready, metadata={"state": _checksum(ready, text) + text}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `save`.

    Raises:
        InputError: if the file is missing or damaged. Files of earlier versions have no checksum.
    """
    try:
        with safe_open(path, framework="pt") as file:
            checksum, brace, rest = (file.metadata() or {}).get("state", "{}").partition("{")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = brace + rest
        state = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from None
    if checksum and checksum != _checksum(tensors, text):
        raise InputError(f"cannot read {path}: it is damaged, its checksum is another")
    return tensors, state


def resumed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read a file written by `save`. Return None if it is missing or, with a warning, if it is damaged."""
    try:
        return load(path) if path.exists() else None
    except InputError as error:
        warnings.warn(f"{error}; it is discarded, and this training begins anew", stacklevel=2)
        return None


def _checksum(tensors: Mapping[str, Tensor], state: str) -> str:
    """CRC-32 of the state and of the name, type, shape and bytes of each tensor."""
    found = zlib.crc32(state.encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Flatten named groups of tensors; each name is preceded by the name of its group and a slash."""
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix and a slash, without this part of the name."""
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as named tensors: ``INDEX/KEY``, or ``INDEX/KEY/number`` for Python numbers.

    INDEX is the index of a parameter, or ``group INDEX`` for step counters that some optimizers store in their groups.
    """
    found = optimizer.state_dict()
    entries = {str(index): entry for index, entry in found["state"].items()}
    counted = [index for index, group in enumerate(found["param_groups"]) if group.get("step") is not None]
    entries |= {f"group {index}": {"step": found["param_groups"][index]["step"]} for index in counted}
    tensors = {}
    for index, entry in entries.items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            elif value is not None:
                tensors[f"{index}/{key}/number"] = torch.from_numpy(np.asarray(value))
    return tensors


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state from `optimizer_tensors`. Each tensor gets the memory layout of its parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups, state = optimizer.state_dict()["param_groups"], dict[int, dict[str, Any]]()
    for name, value in tensors.items():
        index, key, *number = name.split("/")
        if index.startswith("group "):
            groups[int(index.removeprefix("group "))][key] = value.item() if number else value
            continue
        parameter = parameters[int(index)]
        if not number and value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value.item() if number else value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
