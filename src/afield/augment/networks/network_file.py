"""An augmentation's network in one safetensors file: its weights, and its config in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import nn

from afield.errors import InputError
from afield.records import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class WithNetwork(Protocol):
    """An augmentation that is a config and a network."""

    @property
    def config(self) -> DataclassInstance: ...  # noqa: D102

    @property
    def network(self) -> nn.Module: ...  # noqa: D102


T = TypeVar("T", bound=WithNetwork)


def write_network(path: Path, kind: str, augmentor: WithNetwork) -> None:
    """The config goes into the metadata as JSON, under the name of its kind."""
    write_atomic(path, _content(kind, augmentor))


def digest_of(kind: str, augmentor: WithNetwork) -> str:
    """16 hexadecimal digits of the SHA-256 of what `write_network` writes."""
    return hashlib.sha256(_content(kind, augmentor)).hexdigest()[:16]


def read_network(path: Path, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    """What `write_network` wrote; `build` makes an augmentation of a config.

    Raises:
        InputError: no such file, of another kind, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            augmentor = build(json.loads((file.metadata() or {})[kind]))
            augmentor.network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as a learned augmentor of kind {kind!r}: {error}") from None
    return augmentor


def _content(kind: str, augmentor: WithNetwork) -> bytes:
    config = json.dumps(dataclasses.asdict(augmentor.config))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in augmentor.network.state_dict().items()}
    return safetensors.torch.save(tensors, metadata={kind: config})
