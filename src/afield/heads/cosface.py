"""CosFace: a margin subtracted from the cosine of the target."""

from typing import Annotated

from afield.distributions import Uniform
from afield.heads.combined import CombinedMarginHead
from afield.heads.registry import HEADS


@HEADS.register("cosface", reference="Wang et al., CosFace, CVPR 2018.")
class CosFaceHead(CombinedMarginHead):
    """Subtracts a margin from the cosine of the target class.

    The target's logit is ``s (cos(theta_y) - m)``; the other logits are ``s cos(theta_j)``.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_cos: ``m``, in [0, 2]; 0 is the normalized softmax. Face recognition uses 0.35.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Wang et al., "CosFace", CVPR 2018, equation 4.
    """

    shown = ("margin_cos",)

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_cos: Annotated[float, Uniform(0, 0.35)] = 0.1,
        margin_warmup: int = 0,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            scale=scale,
            margin_rad=0.0,
            margin_cos=margin_cos,
            gradient="exact",
            margin_warmup=margin_warmup,
        )
