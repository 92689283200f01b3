"""The files of timm for a trained model: ``config.json``, and weights under timm's names.

On the hub, ``model.safetensors`` has the tensors of the backbone under timm's names, and a linear head if there is one.
`REST` has all other tensors of the model. `join` puts them together again.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import BACKBONES, BackboneConfig
from afield.records import write_json
from afield.training import checkpoint

CONFIG, WEIGHTS, REST = "config.json", "model.safetensors", "afield.safetensors"

PREFIX = "backbone."


def write_timm_files(
    folder: Path,
    classifier: Classifier,
    backbone: BackboneConfig,
    tensors: Mapping[str, Tensor],
    *,
    class_names: Sequence[str],
    size: tuple[int, int],
    temperature: float,
) -> None:
    """Write `CONFIG`, `WEIGHTS` and `REST`.

    If the head is linear, timm loads the folder as a classifier with the probabilities of the model: standardization of
    features, shift and temperature become part of its weights. Otherwise, timm loads the backbone alone. Networks of
    this package, and networks with the small stem, have the same files, but timm does not know them.

    Args:
        folder: folder to write.
        classifier: trained classifier.
        backbone: name and stem of its network.
        tensors: all tensors of the ``model.safetensors`` of the model.
        class_names: names of the K classes.
        size: height and width of the images, in pixels.
        temperature: divisor of the logits before the softmax.
    """
    network = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    rest = {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}
    labels = {"label_names": list(class_names)}
    if backbone.name in BACKBONES or backbone.stem == "small":
        about = {"architecture": backbone.name, "num_classes": len(class_names), **labels}
        write_json(folder / CONFIG, about)
        save_file(network, folder / WEIGHTS, metadata={"format": "pt"})
        checkpoint.save(folder / REST, rest, {"head": []})
        return
    from timm.models import save_for_hf

    full, head = _with_head(backbone.name, network, classifier, temperature)
    mean, std = (getattr(classifier, name).flatten().tolist() for name in ("mean", "std"))
    about = {"input_size": [3, *size], "mean": mean, "std": std, "interpolation": "bilinear", "crop_pct": 1.0}
    about |= {"crop_mode": "squash", "num_classes": full.num_classes}
    with tempfile.TemporaryDirectory() as scratch:
        save_for_hf(full, scratch, {"pretrained_cfg": about, **labels}, safe_serialization=True)
        for name in (CONFIG, WEIGHTS):
            (folder / name).write_bytes((Path(scratch) / name).read_bytes())
    checkpoint.save(folder / REST, rest, {"head": head})


def join(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model from `WEIGHTS` and `REST`.

    Raises:
        InputError: if a file is missing or damaged.
    """
    rest, state = checkpoint.load(folder / REST)
    head = state.get("head")
    network, _ = checkpoint.load(folder / WEIGHTS)
    skipped = set(head) if isinstance(head, list) else set()
    return {**{f"{PREFIX}{name}": value for name, value in network.items() if name not in skipped}, **rest}


def _with_head(
    name: str, network: Mapping[str, Tensor], classifier: Classifier, temperature: float
) -> tuple[Any, list[str]]:
    """The network of timm with the linear head of a classifier, or without a head; and the names of its tensors."""
    import timm

    objective = classifier.objective
    if isinstance(objective.head, LinearHead) and objective.neck is None:
        full: Any = timm.create_model(name, num_classes=classifier.num_classes)
        last = full.get_classifier()
        prefix = next((key for key, module in full.named_modules() if module is last), "")
        if isinstance(last, nn.Linear) and last.weight.shape == objective.head.weight.shape:
            weight, bias = _folded(classifier, temperature)
            head = {f"{prefix}.weight": weight, f"{prefix}.bias": bias}
            if set(full.state_dict()) == {*network, *head}:
                full.load_state_dict({**network, **head})
                return full, [*head]
    bare = timm.create_model(name, num_classes=0)
    bare.load_state_dict(network)
    return bare, []


def _folded(classifier: Classifier, temperature: float) -> tuple[Tensor, Tensor]:
    """Weight ``[K, D]`` and bias ``[K]`` of a linear layer on the features of the backbone."""
    head: Any = classifier.objective.head
    norm, shift = classifier.feature_norm, classifier.objective.prediction_shift
    with torch.no_grad():
        weight, bias = head.weight.double(), head.bias.double()
        if norm is not None:
            weight = weight / norm.std.double()
            bias = bias - weight @ norm.mean.double()
        if shift is not None:
            bias = bias - shift.double()
        return (weight / temperature).float(), (bias / temperature).float()
