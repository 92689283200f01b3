"""CosFace: a margin taken off the target's cosine."""

from __future__ import annotations

from torch import Tensor

from afield.heads.angular import check_margins
from afield.heads.cosine import MarginHead
from afield.heads.registry import HEADS


class CosFaceHead(MarginHead):
    """``z_y = s (cos(theta_y) - m)``, the other logits ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_cos: ``m`` as a difference of cosines, in [0, 2]; 0 is the normalized softmax. Faces use 0.35.

    Raises:
        ValueError: a bad scale, margin or number of classes.

    References:
        Wang et al., "CosFace", CVPR 2018, equation 4.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_cos: float = 0.1,
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale, margin_warmup=margin_warmup)
        check_margins(margin_cos=margin_cos)
        self.margin_cos = margin_cos

    def moved(self, cosine: Tensor) -> Tensor:
        """``cos(theta)`` -> ``cos(theta) - m``, elementwise."""
        return cosine - self.margin_cos

    def extra_repr(self) -> str:
        """Sizes, scale and margin, for ``print(module)``."""
        return f"{super().extra_repr()}, margin_cos={self.margin_cos:g}"


HEADS.add(
    "cosface",
    CosFaceHead,
    summary="A margin taken off the target's cosine.",
    reference="Wang et al., CosFace, CVPR 2018.",
)
