"""Learning loss: selection of the images with the largest predicted losses."""

import torch
from torch import Tensor

from afield.errors import InputError
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("learning_loss", reference="Yoo and Kweon, Learning Loss for Active Learning, CVPR 2019.")
def learning_loss(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the images with the largest predicted loss.

    Raises:
        InputError: if the pool has no predicted losses.
    """
    if pool.predicted_losses is None:
        raise InputError("strategy learning_loss needs Pool(predicted_losses=...), from a trained LossPrediction")
    return pool.highest(pool.predicted_losses, count)
