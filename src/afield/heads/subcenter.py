"""Sub-center ArcFace: several vectors per class; the nearest one is used."""

from typing import Annotated

from torch import Tensor, nn

from afield.distributions import Uniform
from afield.heads.angular import Gradient
from afield.heads.arcface import ArcFaceHead
from afield.heads.cosine import class_vectors
from afield.heads.registry import HEADS
from afield.target_split import TargetSplit, split_target
from afield.validation import check_number


@HEADS.register("subcenter_arcface", reference="Deng et al., Sub-center ArcFace, ECCV 2020.")
class SubCenterArcFaceHead(ArcFaceHead):
    """ArcFace with several vectors per class; the nearest one is used.

    The cosine of a class is the largest cosine to its C vectors. Mislabeled images can thus gather at a vector of their
    own.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_rad: see `ArcFaceHead`.
        centers: C, number of vectors per class, 1 to 1000; 1 is ArcFace. The paper's best value is 3.
        gradient: see `ArcFaceHead`.
        margin_warmup: number of steps, see `MarginHead`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Deng et al., "Sub-center ArcFace", ECCV 2020, equation 2.
    """

    shown = (*ArcFaceHead.shown, "centers")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float | str = "auto",
        margin_rad: Annotated[float, Uniform(0, 0.5)] = 0.1,
        centers: int = 3,
        gradient: Gradient = "straight_through",
        margin_warmup: int = 0,
    ) -> None:
        check_number("centers", centers, 1, 1000, whole=True)
        self.centers = centers
        super().__init__(
            in_features, num_classes, scale=scale, margin_rad=margin_rad, gradient=gradient, margin_warmup=margin_warmup
        )

    def make_weight(self) -> nn.Parameter:
        """The initial class vectors, ``[K * C, D]``; the vectors of a class are adjacent."""
        return class_vectors(self.num_classes * self.centers, self.in_features)

    def per_class(self, similarities: Tensor) -> Tensor:
        """Values ``[B, K * C]`` -> largest value of each class, ``[B, K]``."""
        return similarities.unflatten(1, (self.num_classes, self.centers)).amax(dim=2)

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """See `CosineHead.target_split`. The kernel is not used: it supports one vector per class only."""
        return split_target(self(features, targets), self.indices(features, targets))
