"""ArcFace: a margin added to the target's angle."""

from typing import Annotated, ClassVar

from afield.distributions import Uniform
from afield.heads.angular import Gradient
from afield.heads.combined import CombinedMarginHead
from afield.heads.registry import HEADS


@HEADS.register("arcface", reference="Deng et al., ArcFace, CVPR 2019 (paper C).")
class ArcFaceHead(CombinedMarginHead):
    """Adds a margin in radians to the angle of the target class.

    The target's logit is ``s cos(theta_y + m)``; the other logits are ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`. The paper on ordinary classes (paper C) uses 1, which is too small for training.
        margin_rad: ``m`` in radians, in [0, pi]; 0 is the normalized softmax. 0.1 is the best
            value in that paper.
        gradient: with ``"straight_through"``, training from scratch succeeds at margins where it fails with ``"exact"``
            (used by the papers); see `afield.heads.angular.apply_gradient`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> head = ArcFaceHead(8, 3, margin_rad=0.2)
        >>> head(torch.randn(4, 8), torch.tensor([0, 1, 2, 0])).shape
        torch.Size([4, 3])

    References:
        Deng et al., "ArcFace", CVPR 2019, equation 3; angular-margin heads for ordinary object classes (paper C).

    Warning:
        Beyond ``theta + m = pi``, common implementations use ``cos(theta) - m sin(m)``, which is discontinuous. Here
        the logit is continuous and decreases with the angle on all of [0, pi].
    """

    shown: ClassVar[tuple[str, ...]] = ("margin_rad", "gradient")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_rad: Annotated[float, Uniform(0, 0.5)] = 0.1,
        gradient: Gradient = "straight_through",
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(
            in_features, num_classes, scale=scale, margin_rad=margin_rad, gradient=gradient, margin_warmup=margin_warmup
        )
