"""The module that predicts losses, and the loss that ranks them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afield.labeling import LossPrediction, ranking_loss


def test_the_ranking_loss_of_pairs_by_hand():
    predicted = torch.tensor([0.0, 2.0, 0.5, 3.0])
    losses = torch.tensor([1.0, 2.0, 5.0, 4.0])
    # pairs (0, 3) and (1, 2): predictions differ by -3 and 1.5, the first image's loss is smaller in both
    assert ranking_loss(predicted, losses).tolist() == [0.0, 2.5]
    assert ranking_loss(predicted, losses, margin=4.0).tolist() == [1.0, 5.5]
    assert ranking_loss(predicted, -losses).tolist() == [4.0, 0.0]


def test_the_ranking_loss_has_gradients_in_the_predictions_alone():
    predicted = torch.tensor([0.2, -0.3, 0.4, 0.1], dtype=torch.float64, requires_grad=True)
    losses = torch.tensor([1.0, 2.0, 5.0, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: ranking_loss(values, losses.detach()), predicted)
    ranking_loss(predicted, losses).sum().backward()
    assert predicted.grad.tolist() == [1, 1, -1, -1]
    assert losses.grad is None


def test_an_odd_batch_has_no_pairs():
    with pytest.raises(ValueError, match="needs pairs of images, got 3 images"):
        ranking_loss(torch.zeros(3), torch.zeros(3))


def test_the_module_is_pooling_linear_relu_a_stage_and_one_linear():
    torch.manual_seed(0)
    module = LossPrediction([2, 3], width=4)
    maps = [torch.randn(5, 2, 6, 6), torch.randn(5, 3)]
    hidden = [module.stages[0](maps[0].mean(dim=(2, 3))).relu(), module.stages[1](maps[1]).relu()]
    torch.testing.assert_close(module(maps), module.last(torch.cat(hidden, dim=1)).squeeze(1))
    assert sum(p.numel() for p in module.parameters()) == (2 * 4 + 4) + (3 * 4 + 4) + (8 + 1)


def test_the_module_learns_which_images_are_hard():
    torch.manual_seed(0)
    features = torch.randn(64, 4)
    losses = features[:, 0].exp()
    module = LossPrediction([4], width=16)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(150):
        order = torch.randperm(64)
        loss = ranking_loss(module([features[order]]), losses[order]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ranks = [values.argsort().argsort().float() for values in (module([features]), losses)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.95


def test_features_of_stages_can_be_cut_off_from_the_backbone():
    backbone, module = nn.Conv2d(3, 2, 1), LossPrediction([2])
    ranking_loss(module([backbone(torch.randn(4, 3, 2, 2)).detach()]), torch.arange(4.0)).sum().backward()
    assert backbone.weight.grad is None
    assert module.last.weight.grad is not None
