"""AdaCos: scaled cosines with an adaptive scale and without a margin."""

from afield.heads.cosine import CosineHead
from afield.heads.registry import HEADS


@HEADS.register("adacos", reference="Zhang et al., AdaCos, CVPR 2019.")
class AdaCosHead(CosineHead):
    """Scaled cosines whose scale adapts to the batch.

    This is `CosineHead` with ``scale="adaptive"``. The scale starts at ``sqrt(2) log(K-1)``; each batch updates it.

    Args:
        in_features: D.
        num_classes: K, at least 3.

    Raises:
        ValueError: if there are fewer than three classes.

    References:
        Zhang et al., "AdaCos", CVPR 2019, the dynamic form.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes, scale="adaptive")
