"""The module that predicts losses, and the loss that ranks them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import ERM, Batch, LearningLoss, ranking_loss
from afield.algorithms.learning_loss import features_and_losses
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import LinearHead
from afield.models import LossPrediction, ResNet8
from afield.objective import Objective
from afield.recipes import resolve
from afield.runs.build import build_algorithm


def make_classifier() -> Classifier:
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 0.5, "label_smoothing": 2.0})
    return Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)


def make_batch(count: int = 6, progress: float = 0.0) -> Batch:
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(count) % 3, torch.zeros(count, dtype=torch.int64), torch.arange(count), progress)


def gradients(algorithm, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradient of each parameter of the classifier."""
    algorithm.zero_grad()
    sum(algorithm(batch).values()).backward()
    return {name: parameter.grad for name, parameter in algorithm.classifier.named_parameters()}


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


@pytest.mark.parametrize("count", [6, 7])
def test_the_terms_by_hand_and_the_last_image_of_an_odd_batch_has_no_pair(count):
    algorithm, batch = LearningLoss(make_classifier(), [count], weight=0.3, margin=0.7), make_batch(count)
    classifier = algorithm.classifier
    maps = [classifier.backbone.stem(classifier.normalize(batch.inputs))]
    for stage in classifier.backbone.stages:
        maps.append(stage(maps[-1]))
    predicted = classifier.loss_prediction(maps[1:]).tolist()
    logits = classifier.objective.head(maps[-1].mean(dim=(2, 3)))
    smooth = F.cross_entropy(logits, batch.targets, label_smoothing=0.1, reduction="none")
    losses = (0.5 * F.cross_entropy(logits, batch.targets, reduction="none") + 2 * smooth).tolist()
    pairs = []
    for i, j in ((0, 5), (1, 4), (2, 3)):
        sign = 1 if losses[i] > losses[j] else -1
        pairs.append(max(0, 0.7 - sign * (predicted[i] - predicted[j])))
    terms = algorithm(batch)
    assert terms["ranking"].item() == pytest.approx(0.3 * sum(pairs) / 3, rel=1e-4)
    assert terms["objective"].item() == pytest.approx(sum(losses) / count, rel=1e-5)


def test_a_single_image_has_no_ranking_loss():
    assert LearningLoss(make_classifier(), [1]).eval()(make_batch(1))["ranking"].item() == 0


def test_the_ranking_loss_reaches_the_backbone_until_the_cutoff_and_its_module_to_the_end():
    plain = gradients(ERM(make_classifier(), [6]), make_batch())
    algorithm = LearningLoss(make_classifier(), [6], cutoff=0.5)
    before, after = (gradients(algorithm, make_batch(progress=progress)) for progress in (0.49, 0.5))
    parts = dict(algorithm.classifier.loss_prediction.named_parameters(prefix="loss_prediction"))
    assert before.keys() == after.keys() == plain.keys() | parts.keys()
    for name, gradient in plain.items():
        assert torch.equal(after[name], gradient), name
        assert torch.equal(before[name], gradient) == name.startswith("objective"), name
    for name in parts.keys() - {"loss_prediction.last.bias"}:  # a shift of all predictions changes no difference
        assert after[name].abs().sum() > 0, name


def test_the_true_loss_of_an_image_is_not_changed_by_the_ranking_loss():
    algorithm = LearningLoss(make_classifier(), [6])
    algorithm(make_batch())["ranking"].backward()
    assert algorithm.classifier.objective.head.weight.grad is None


def test_predicted_losses_come_with_the_features_in_one_pass():
    algorithm, images = LearningLoss(make_classifier(), [6]).eval(), make_batch().inputs
    passes = []
    algorithm.classifier.backbone.register_forward_hook(lambda *_: passes.append(1))
    features, losses = features_and_losses(algorithm.classifier, images)
    assert len(passes) == 1
    assert torch.equal(features, algorithm.classifier.features(images))
    assert losses.shape == (6,)
    assert losses.std() > 0
    assert all(not stage._forward_hooks for stage in algorithm.classifier.backbone.stages)


def test_an_average_of_the_weights_has_the_average_of_the_module():
    (recipe,) = resolve(["erm+learning_loss+ema"])
    algorithm = build_algorithm(recipe, make_classifier(), [6], 0)
    bias = algorithm.classifier.loss_prediction.last.bias
    first = bias.item()
    bias.data += 1
    algorithm.end_step(1, 2, lambda: 0.0)  # at step 1, the decay is 2 / 11
    assert algorithm.predictor().loss_prediction.last.bias.item() == pytest.approx(first + 9 / 11)


def test_a_backbone_without_stages_and_options_out_of_range_are_refused():
    classifier = make_classifier()
    classifier.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 32))
    with pytest.raises(InputError, match="backbone Sequential has fewer than two stages with feature maps"):
        LearningLoss(classifier, [6])
    for option in ({"weight": -1}, {"margin": -0.1}, {"cutoff": 1.1}):
        with pytest.raises(InputError, match=f"{next(iter(option))} must"):
            LearningLoss(make_classifier(), [6], **option)
