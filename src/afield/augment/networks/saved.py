"""An augmentation that was learned, from its safetensors file, whichever kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from afield.augment.networks.affine_augmentor import AffineAugmentor
from afield.augment.networks.dagan_augmentor import DaganAugmentor
from afield.augment.networks.network_file import NetworkAugmentation
from afield.errors import InputError

KINDS: Mapping[str, type[NetworkAugmentation]] = {kind.kind: kind for kind in (AffineAugmentor, DaganAugmentor)}


def read_saved(path: Path) -> NetworkAugmentation:
    """A trained `AffineAugmentor` or `DaganAugmentor`.

    Raises:
        InputError: no such file, damaged, or neither of them.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = [kind for kind in KINDS if kind in (file.metadata() or {})]
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if not found:
        raise InputError(f"{path} is no learned augmentation: its metadata has none of {', '.join(KINDS)}")
    return KINDS[found[0]].read(path)
