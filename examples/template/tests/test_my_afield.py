"""The common checks of afield, and a value of the loss by hand."""

import torch
from my_afield.algorithm import Distilled
from my_afield.augmentation import FewerColors
from my_afield.data_set import load
from my_afield.head import DistanceHead
from my_afield.loss import brier

from afield.testing import check_algorithm, check_augmentation, check_data_set, check_head, check_loss


def test_the_loss_passes_the_common_checks():
    check_loss(brier)


def test_the_loss_by_hand():
    probabilities = torch.tensor([[0.7, 0.2, 0.1]])
    assert brier(probabilities.log(), torch.tensor([1])).item() == torch.tensor(0.49 + 0.64 + 0.01).item()


def test_the_head_passes_the_common_checks():
    check_head(DistanceHead)


def test_the_algorithm_passes_the_common_checks():
    check_algorithm(Distilled)


def test_the_augmentation_passes_the_common_checks():
    check_augmentation(FewerColors)


def test_the_data_set_passes_the_common_checks():
    check_data_set(load)
