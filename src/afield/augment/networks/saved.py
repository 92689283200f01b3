"""An augmentation that was learned, from its safetensors file, whichever kind it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from afield.augment.networks.affine_augmentor import AffineAugmentor
from afield.augment.networks.dagan_augmentor import DaganAugmentor
from afield.augment.registry import SavedAugmentation
from afield.errors import InputError

KINDS: Mapping[str, Callable[[Path], SavedAugmentation]] = {
    "augmentor": AffineAugmentor.read,
    "dagan": DaganAugmentor.read,
}
"""What reads a file, by the name under which its metadata holds the config."""


def read_saved(path: Path) -> SavedAugmentation:
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
    return KINDS[found[0]](path)
