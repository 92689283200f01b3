"""The means of groups of examples."""

import torch.nn.functional as F
from torch import Tensor


def group_means(values: Tensor, groups: Tensor) -> Tensor:
    """The mean of each group.

    Args:
        values: ``[B, ...]``.
        groups: group index of each example, ``[B]``, from 0 to G - 1. No group may be empty.

    Returns:
        The means, ``[G, ...]``.
    """
    member = F.one_hot(groups).to(values.dtype)
    return ((member / member.sum(dim=0)).T @ values.flatten(1)).unflatten(1, values.shape[1:])
