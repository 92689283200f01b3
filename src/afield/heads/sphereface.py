"""SphereFace: a margin that multiplies the angle of the target."""

from typing import Annotated

from afield.distributions import Uniform
from afield.heads.angular import Gradient
from afield.heads.combined import CombinedMarginHead
from afield.heads.registry import HEADS


@HEADS.register("sphereface", reference="Liu et al., SphereFace, CVPR 2017.")
class SphereFaceHead(CombinedMarginHead):
    """Multiplies the angle of the target class by a margin.

    The target's logit is ``s psi(theta_y)``, where psi is the monotone form of ``cos(m theta)``; the other logits are
    ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`. The original method uses the length of the features instead of a scale.
        margin_multiplier: ``m >= 1``; 1 is the normalized softmax. Face recognition uses 4.
        gradient: see `ArcFaceHead`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

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
        margin_multiplier: Annotated[float, Uniform(1, 2)] = 1.2,
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
