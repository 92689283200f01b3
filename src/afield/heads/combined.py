"""The combined margin of SphereFace, ArcFace and CosFace."""

from typing import ClassVar

from torch import Tensor

from afield.heads.angular import Gradient, add_angle, apply_gradient, check_gradient, check_margins, multiply_angle
from afield.heads.cosine import MarginHead
from afield.heads.registry import HEADS


@HEADS.register("combined", reference="Deng et al., ArcFace, CVPR 2019, equation 4.")
class CombinedMarginHead(MarginHead):
    """Combines the margins of SphereFace, ArcFace and CosFace (m1, m2, m3).

    The target's logit is ``s (cos(m1 theta_y + m2) - m3)``, continued monotonically beyond pi; the other logits are
    ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_multiplier: ``m1``, a factor of the angle, at least 1.
        margin_rad: ``m2``, added to the angle, in radians, in [0, pi].
        margin_cos: ``m3``, subtracted from the cosine, in [0, 2].
        gradient: see `ArcFaceHead`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Deng et al., "ArcFace", CVPR 2019, equation 4.
    """

    shown: ClassVar[tuple[str, ...]] = ("margin_multiplier", "margin_rad", "margin_cos", "gradient")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_multiplier: float = 1.0,
        margin_rad: float = 0.1,
        margin_cos: float = 0.0,
        gradient: Gradient = "straight_through",
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale, margin_warmup=margin_warmup)
        check_margins(margin_multiplier=margin_multiplier, margin_rad=margin_rad, margin_cos=margin_cos)
        check_gradient(gradient)
        self.margin_multiplier = margin_multiplier
        self.margin_rad = margin_rad
        self.margin_cos = margin_cos
        self.gradient = gradient

    def moved(self, cosine: Tensor) -> Tensor:
        """``cos(theta)`` -> ``cos(m1 theta + m2) - m3``, elementwise."""
        return apply_gradient(self._margin, cosine, self.gradient)

    def _margin(self, cosine: Tensor) -> Tensor:
        if self.margin_multiplier != 1:
            cosine = multiply_angle(cosine, self.margin_multiplier, self.margin_rad)
        elif self.margin_rad:
            cosine = add_angle(cosine, self.margin_rad)
        return cosine - self.margin_cos
