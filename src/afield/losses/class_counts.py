"""What losses compute from the number of training images of each class. A class without images counts as one image.

`counts`, ``[K]``, has any numeric dtype. None means equally many images of all classes.
"""

from torch import Tensor

from afield.validation import check_within


def present(loss: str, counts: Tensor | None, logits: Tensor) -> Tensor:
    """The counts ``[K]``, at least 1, in the dtype and on the device of logits ``[B, K]``.

    Raises:
        ValueError: if there is not one count for each class.
    """
    if counts is None:
        return logits.new_ones(logits.shape[1])
    if counts.shape != logits.shape[1:]:
        raise ValueError(f"{loss} needs counts [K] for logits {tuple(logits.shape)}, got {tuple(counts.shape)}")
    return counts.to(logits).clamp(min=1)


def balanced_weights(counts: Tensor) -> Tensor:
    """Class weights inverse to the class frequencies: ``w_k = N / (K n_k)``, so that the mean weight of an image is 1.

    >>> import torch
    >>> balanced_weights(torch.tensor([3, 1]))
    tensor([0.6667, 2.0000])

    Args:
        counts: number of training images of each class, ``[K]``.

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 2001, section 4.2.
    """
    return _normalized(1 / counts.double().clamp(min=1), counts)


def effective_weights(counts: Tensor, *, beta: float = 0.9999) -> Tensor:
    """Class weights inverse to the effective number of images: ``w_k`` is proportional to ``(1 - b) / (1 - b^n_k)``.

    They are scaled so that the mean weight of an image is 1. With beta 0 all weights are 1; towards 1 they become
    `balanced_weights`.

    Args:
        counts: number of training images of each class, ``[K]``.
        beta: ``b``, in [0, 1).

    Raises:
        InputError: if beta is out of range.

    References:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, equation 5.
    """
    check_within("[0, 1)", beta=beta)
    return _normalized((1 - beta) / (1 - beta ** counts.double().clamp(min=1)), counts)


def _normalized(weights: Tensor, counts: Tensor) -> Tensor:
    return (weights * counts.sum() / (weights * counts).sum()).float()
