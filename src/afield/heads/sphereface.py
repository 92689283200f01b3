"""SphereFace: the target's angle multiplied."""

from __future__ import annotations

from torch import Tensor

from afield.heads.angular import Gradient, apply_gradient, check_gradient, check_margins, multiply_angle
from afield.heads.cosine import MarginHead
from afield.heads.registry import HEADS


class SphereFaceHead(MarginHead):
    """``z_y = s psi(theta_y)``, with psi the monotone form of ``cos(m theta)``; the others ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`. (The original leaves the features' length in place of a scale.)
        margin_multiplier: ``m >= 1``; 1 is the normalized softmax. Faces use 4.
        gradient: see `ArcFaceHead`.
        margin_warmup: steps, see `MarginHead`.

    Raises:
        ValueError: a bad scale, margin, warm-up, gradient or number of classes.

    References:
        Liu et al., "SphereFace", CVPR 2017, equation 7.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_multiplier: float = 1.2,
        gradient: Gradient = "straight_through",
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale, margin_warmup=margin_warmup)
        check_margins(margin_multiplier=margin_multiplier)
        check_gradient(gradient)
        self.margin_multiplier = margin_multiplier
        self.gradient = gradient

    def moved(self, cosine: Tensor) -> Tensor:
        """``cos(theta)`` -> ``psi(theta)``, elementwise."""
        if self.margin_multiplier == 1:
            return cosine
        return apply_gradient(lambda c: multiply_angle(c, self.margin_multiplier), cosine, self.gradient)

    def extra_repr(self) -> str:
        """Sizes, scale and margin, for ``print(module)``."""
        return f"{super().extra_repr()}, margin_multiplier={self.margin_multiplier:g}, gradient={self.gradient!r}"


HEADS.add(
    "sphereface",
    SphereFaceHead,
    summary="The target's angle multiplied, in the monotone form.",
    reference="Liu et al., SphereFace, CVPR 2017.",
)
