"""SphereFace: the target's angle multiplied."""

from __future__ import annotations

from afield.heads.angular import Gradient
from afield.heads.combined import CombinedMarginHead
from afield.heads.registry import HEADS


@HEADS.register("sphereface", reference="Liu et al., SphereFace, CVPR 2017.")
class SphereFaceHead(CombinedMarginHead):
    """The target's angle multiplied, in the monotone form.

    ``z_y = s psi(theta_y)``, with psi the monotone form of ``cos(m theta)``; the others ``s cos(theta_j)``.

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

    shown = ("margin_multiplier", "gradient")

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
        super().__init__(
            in_features,
            num_classes,
            scale=scale,
            margin_multiplier=margin_multiplier,
            margin_rad=0.0,
            gradient=gradient,
            margin_warmup=margin_warmup,
        )
