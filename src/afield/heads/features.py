"""Check of the input of the heads."""

from torch import Tensor


def check_features(features: Tensor, width: int) -> None:
    """Raise `ValueError` unless features are ``[B, D]`` with D = `width` and a floating-point type."""
    if features.ndim != 2 or features.shape[1] != width or not features.is_floating_point():
        found = f"{list(features.shape)} of {str(features.dtype).removeprefix('torch.')}"
        hint = "; average a feature map over its positions first" if features.ndim == 4 else ""
        raise ValueError(f"a head for {width} features needs floating-point features [B, {width}], got {found}{hint}")
