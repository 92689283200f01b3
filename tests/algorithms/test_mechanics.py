"""What each algorithm computes, against longhand values."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import ALGORITHMS, ERM, SWAD, Batch, MixStyle
from afield.algorithms.averagings.averaging import blend
from afield.algorithms.averagings.swad import flat_region
from afield.algorithms.coral import CORAL, coral_distance
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.parts.pairing import partners_elsewhere
from afield.algorithms.parts.risks import domain_risks
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import LinearHead
from afield.models import BACKBONES, BackboneConfig, build_backbone, feature_stages, stage_channels, stage_means
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])


def make_classifier(losses=None, loss_options=None, backbone=None, features=5) -> Classifier:
    torch.manual_seed(0)
    objective = Objective(LinearHead(features, 3), losses or {"cross_entropy": 1.0}, loss_options)
    backbone = backbone or nn.Sequential(nn.Linear(4, 5), nn.Tanh())
    return Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0).double()


def make_batch(progress=0.5) -> Batch:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.tensor([0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 1, 0]), DOMAINS, torch.arange(12), progress)


def longhand_risks(classifier, batch):
    logits = classifier.logits(batch.inputs)
    return torch.stack([F.cross_entropy(logits[d == DOMAINS], batch.targets[d == DOMAINS]) for d in range(3)])


# Risks of domains


def test_the_risk_of_a_domain_is_the_objective_on_its_examples_alone():
    batch = make_batch()
    losses = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    for options in ({}, {"cross_entropy": {"weight": [1.0, 2.0, 0.5]}}):
        classifier = make_classifier(losses, options)
        targets = batch.targets.clone()
        targets[3] = -100
        found = domain_risks(classifier, batch._replace(targets=targets))
        expected = [classifier(batch.inputs[d == DOMAINS], targets[d == DOMAINS]) for d in range(3)]
        torch.testing.assert_close(found.values, torch.stack(expected).to(found.values.dtype))


def test_domains_that_are_not_in_the_batch_have_no_risk():
    batch = make_batch()._replace(domains=2 * (DOMAINS // 2))
    assert domain_risks(make_classifier(), batch).domains.tolist() == [0, 2]


# IRM, V-REx


def test_the_slope_of_irm_is_the_derivative_by_a_factor_on_the_logits():
    classifier, batch = make_classifier(), make_batch()
    found = domain_risks(classifier, batch, slopes=True)
    logits = classifier.logits(batch.inputs)
    rows = ((logits.softmax(1) - F.one_hot(batch.targets, 3)) * logits).sum(1)
    expected = torch.stack([rows[d == DOMAINS].mean() for d in range(3)])
    torch.testing.assert_close(found.slopes, expected)
    torch.testing.assert_close(found.values, longhand_risks(classifier, batch))
    terms = ALGORITHMS["irm"](classifier, [4, 4, 4], penalty=1.0)(batch)
    torch.testing.assert_close(terms["irm"], expected.square().mean())


def test_the_gradient_of_irm_is_that_of_the_penalty_written_out():
    classifier, batch = make_classifier(), make_batch()
    weight = classifier.backbone[0].weight
    terms = ALGORITHMS["irm"](classifier, [4, 4, 4], penalty=1.0)(batch)
    (found,) = torch.autograd.grad(terms["irm"], weight)
    logits = classifier.logits(batch.inputs)
    rows = ((logits.softmax(1) - F.one_hot(batch.targets, 3)) * logits).sum(1)
    penalty = torch.stack([rows[d == DOMAINS].mean() for d in range(3)]).square().mean()
    torch.testing.assert_close(found, torch.autograd.grad(penalty, weight)[0])


def test_vrex_is_mean_and_variance_of_the_risks():
    classifier, batch = make_classifier(), make_batch()
    terms = ALGORITHMS["vrex"](classifier, [4, 4, 4], penalty=0.5)(batch)
    risks = longhand_risks(classifier, batch).detach().numpy()
    assert float(terms["objective"].detach()) == pytest.approx(risks.mean())
    assert float(terms["vrex"].detach()) == pytest.approx(0.5 * risks.var())


def test_a_penalty_counts_in_full_from_its_start_and_then_the_sum_keeps_its_size():
    objective, value = torch.tensor(2.0), torch.tensor(3.0)
    before, after = (penalized(objective, share, p=(Annealed(10.0, 0.2), value)) for share in (0.19, 0.2))
    assert (before["objective"], before["p"]) == (2, 3)
    assert (float(after["objective"]), float(after["p"])) == (pytest.approx(0.2), 3)
    small = [penalized(objective, share, p=(Annealed(0.5, 0.2), value)) for share in (0.1, 0.9)]
    assert all((terms["objective"], terms["p"]) == (2, 1.5) for terms in small)
    off = penalized(objective, 0.1, p=(Annealed(10.0, 0.2, before=0.0), value), q=(Annealed(4.0, 0.0), value))
    assert (off["objective"], off["p"], off["q"]) == (0.5, 0, 3)


# GroupDRO


def test_the_weights_of_groupdro_by_hand():
    classifier, batch = make_classifier(), make_batch()
    algorithm = ALGORITHMS["groupdro"](classifier, [4, 4, 4], rate=0.5).double()
    risks = longhand_risks(classifier, batch).detach().numpy()
    weights = np.full(3, 1 / 3)
    for _ in range(4):
        weights = weights * np.exp(0.5 * risks)
        weights /= weights.sum()
        assert float(algorithm(batch)["objective"].detach()) == pytest.approx(weights @ risks)
    np.testing.assert_allclose(algorithm.weights.numpy(), weights)
    assert algorithm.weights.argmax() == risks.argmax()


# CORAL


def test_coral_against_numpy():
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = [features[d == DOMAINS].numpy() for d in range(3)]
    distances = [
        np.mean((a.mean(0) - b.mean(0)) ** 2) + np.mean((np.cov(a, rowvar=False) - np.cov(b, rowvar=False)) ** 2)
        for a, b in itertools.combinations(groups, 2)
    ]
    assert float(coral_distance(features, DOMAINS)) == pytest.approx(np.mean(distances))


def test_coral_counts_its_penalty_times():
    batch, classifier = make_batch(), make_classifier()
    terms = CORAL(classifier, [4, 4, 4], penalty=3.0)(batch)
    distance = coral_distance(classifier.features(batch.inputs), DOMAINS)
    assert float(terms["coral"].detach()) == pytest.approx(3 * float(distance.detach()))


def test_coral_is_zero_where_statistics_agree_and_passes_over_a_domain_of_one_example():
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    twice = torch.cat([features, features.flip(0)])
    assert float(coral_distance(twice, torch.arange(8) // 4)) == pytest.approx(0, abs=1e-12)
    assert coral_distance(features, torch.tensor([0, 0, 0, 1])) == 0


# MLDG


def test_the_gradient_of_mldg_is_that_of_finite_differences():
    """Of F(theta) + beta * G(theta - alpha * F'(theta)), for every parameter along a random direction."""
    classifier, batch = make_classifier(), make_batch()
    algorithm = ALGORITHMS["mldg"](classifier, [4, 4, 4], beta=0.7, inner_rate=0.3)

    def value() -> torch.Tensor:
        torch.manual_seed(3)
        return sum(algorithm(batch).values())

    value().backward()
    for parameter in classifier.parameters():
        direction = torch.randn(parameter.shape, dtype=torch.float64)
        slope, ends = (parameter.grad * direction).sum(), []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter += step * direction
            ends.append(float(value().detach()))
            with torch.no_grad():
                parameter -= step * direction
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


def test_mldg_without_an_inner_step_is_the_two_objectives():
    classifier, batch = make_classifier(), make_batch()
    algorithm = ALGORITHMS["mldg"](classifier, [4, 4, 4], beta=2.0, inner_rate=0.0)
    terms, risks = algorithm(batch), longhand_risks(classifier, batch)
    held = int((risks - terms["meta_test"] / 2).abs().argmin())
    torch.testing.assert_close(terms["meta_test"], 2 * risks[held])
    torch.testing.assert_close(terms["meta_train"], (risks.sum() - risks[held]) / 2)
    drawn = {algorithm(batch)["meta_test"].item() for _ in range(50)}
    assert len(drawn) == 3


# MixStyle


def test_mixed_maps_have_mixed_means_and_deviations_and_no_gradient_through_them():
    maps = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = (maps * torch.arange(1, 5)[:, None, None, None] + 3).requires_grad_()
    partner, share = torch.tensor([1, 0, 3, 2]), torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    mixed = MixStyle.mixed(maps, partner, share)
    own_mean, own_deviation = maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))
    part = share[:, None]
    mean = part * own_mean + (1 - part) * own_mean[partner]
    deviation = part * own_deviation + (1 - part) * own_deviation[partner]
    torch.testing.assert_close(mixed.mean(dim=(2, 3)), mean)
    torch.testing.assert_close(mixed.std(dim=(2, 3)), deviation, rtol=1e-5, atol=0)
    torch.testing.assert_close(mixed[3], maps[3])
    mixed.sum().backward()
    factor = (deviation / own_deviation)[:, :, None, None].expand_as(maps)
    torch.testing.assert_close(maps.grad, factor, rtol=1e-5, atol=0)


def test_mixstyle_mixes_after_the_first_stages_while_training_and_never_else():
    torch.manual_seed(0)
    objective = Objective(LinearHead(64, 3), {"cross_entropy": 1.0})
    classifier = Classifier(BACKBONES["resnet8"](), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    batch = make_batch()._replace(inputs=torch.rand(12, 3, 8, 8))
    plain = ERM(classifier, [4, 4, 4])(batch)["objective"]
    assert torch.equal(ALGORITHMS["mixstyle"](classifier, [4] * 3, probability=0.0)(batch)["objective"], plain)
    for mix in ("random", "crossdomain"):
        algorithm = ALGORITHMS["mixstyle"](classifier, [4, 4, 4], probability=1.0, mix=mix)
        assert algorithm.stages == 2
        assert not torch.equal(algorithm(batch)["objective"], plain)
    assert all(not module._forward_hooks for module in classifier.modules())
    with pytest.raises(ValueError, match="stages must lie between 1 and 3"):
        ALGORITHMS["mixstyle"](classifier, [4, 4, 4], stages=4)


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet8", 3), ("whitened_vgg", 3), ("resnet18", 4), ("tf_efficientnet_lite0", 5), ("convnext_atto", 4)],
)
def test_the_stages_of_a_backbone_give_feature_maps(name, count):
    backbone, _ = build_backbone(BackboneConfig(name))
    maps = []
    for stage in feature_stages(backbone):
        stage.register_forward_hook(lambda module, inputs, found: maps.append(found))
    with torch.no_grad(), stage_means(backbone.eval()) as means:
        backbone(torch.rand(2, 3, 64, 64))
    assert len(maps) == count
    assert [found.shape[1] for found in maps] == stage_channels(backbone)
    assert all(torch.equal(mean, found.mean(dim=(2, 3))) for mean, found in zip(means, maps, strict=True))


def test_a_transformer_has_no_stages():
    backbone, _ = build_backbone(BackboneConfig("vit_tiny_patch16_224"))
    with pytest.raises(InputError, match="backbone VisionTransformer has fewer than two stages with feature maps"):
        feature_stages(backbone)


# RSC


def test_rsc_mutes_a_share_of_the_features_of_a_share_of_the_batch():
    classifier = make_classifier(features=9, backbone=nn.Linear(4, 9))
    features = classifier.features(make_batch().inputs).detach()
    targets = make_batch().targets
    algorithm = ALGORITHMS["rsc"](classifier, [4, 4, 4])
    kept = algorithm.kept(features.clone(), targets)
    muted = (kept == 0).sum(1)
    assert sorted(muted.tolist()) == [0] * 8 + [3] * 4
    slopes = classifier.objective.head.weight[targets]
    for row in np.flatnonzero(muted):
        assert set(torch.where(kept[row] == 0)[0].tolist()) == set(slopes[row].topk(3).indices.tolist())
    everyone = ALGORITHMS["rsc"](classifier, [4, 4, 4], examples=0.99).kept(features.clone(), targets)
    probability = [
        classifier.objective.logits(f).softmax(1)[range(12), targets] for f in (features, features * everyone)
    ]
    loss = probability[0] - probability[1]
    assert set(np.flatnonzero(muted)) == set(loss.topk(4).indices.tolist())


# Mixup across domains


def test_partners_are_of_other_domains_each_of_them_as_often():
    torch.manual_seed(0)
    domains = torch.tensor([0, 0, 0, 1, 2])
    drawn = torch.stack([partners_elsewhere(domains) for _ in range(3000)])
    assert (domains[drawn] != domains).all()
    counts = torch.bincount(drawn[:, 0], minlength=5)
    assert counts[:3].sum() == 0
    assert abs(int(counts[3]) - 1500) < 5 * math.sqrt(750)
    assert partners_elsewhere(torch.zeros(3, dtype=torch.int64)).tolist() == [0, 1, 2]


def test_domain_mixup_is_the_objective_at_mixed_inputs_with_mixed_targets():
    classifier, batch = make_classifier(), make_batch()
    algorithm = ALGORITHMS["domain_mixup"](classifier, [4, 4, 4], alpha=2.0)
    torch.manual_seed(5)
    found = sum(algorithm(batch).values())
    torch.manual_seed(5)
    partner = partners_elsewhere(DOMAINS)
    share = float(torch.distributions.Beta(2.0, 2.0).sample())
    soft = share * F.one_hot(batch.targets, 3) + (1 - share) * F.one_hot(batch.targets[partner], 3)
    mixed = share * batch.inputs + (1 - share) * batch.inputs[partner]
    torch.testing.assert_close(found, F.cross_entropy(classifier.logits(mixed), soft.double()))


# SWAD


@pytest.mark.parametrize(
    ("losses", "region"),
    [
        ([], (None, 0)),
        ([3.0, 2.0], (None, 2)),
        ([5.0, 4.0, 3.0, 2.0], (None, 4)),
        ([5.0, 4.0, 4.5, 4.2], (1, 4)),
        ([5.0, 4.0, 4.5, 4.2, 3.0, 2.0], (1, 6)),
        ([1.0, 1.0, 1.0, 1.4, 1.2, 1.4, 1.4], (0, 7)),
        ([1.0, 1.0, 1.0, 1.4, 1.2, 1.4, 1.4, 1.4], (0, 5)),
        ([1.0, 1.0, 1.0, 1.3, 1.3, 1.3], (0, 6)),
        ([1.0, 1.0, 1.0, 1.4, 1.4, 1.4, 0.5, 0.5], (0, 3)),
        ([1.0, 1.0, 1.0, 1.0, 1.4, 1.4], (0, 6)),
        ([0.1, 1.4, 1.4, 1.4, 1.4, 1.4], (0, 1)),
    ],
)
def test_the_flat_region_by_hand(losses, region):
    """It starts at the lowest of three, and ends before three that all exceed 1.3 times the mean of those."""
    assert flat_region(losses, 3, 3, 1.3) == region


@pytest.mark.parametrize("looks", [6, 12])
def test_swad_predicts_with_the_mean_of_every_step_in_the_region(looks):
    losses = [5.0, 4.0, 4.1, 4.3, 4.0, 4.2, 9.0, 9.0, 9.0, 3.0, 3.0, 3.0][:looks]
    swad = SWAD(ERM(make_classifier(), [4, 4, 4]), converged=2, overfitted=2, tolerance=1.3, looks=looks)
    seen, heard = [], iter(losses)
    for step in range(1, 2 * looks + 1):
        with torch.no_grad():
            for parameter in swad.classifier.parameters():
                parameter.copy_(torch.randn_like(parameter))
        seen.append(copy.deepcopy(swad.classifier.state_dict()))
        swad.end_step(step, 2 * looks, lambda: next(heard))
        look = step // 2
        start, end = flat_region(losses[:look], 2, 2, 1.3)
        state = swad.predictor().state_dict()
        inside = seen[-1:] if start is None else seen[2 * start : 2 * end]
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, torch.stack([old[name] for old in inside]).mean(0))
    assert (start, end) == (1, 6)
    assert not any(p.requires_grad for p in swad.average.parameters())


def test_blending_moves_numbers_and_takes_over_counters():
    first, second = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    second.running_mean.fill_(4.0)
    second.num_batches_tracked.fill_(7)
    blend(first, second, 0.25)
    assert first.running_mean.tolist() == [1.0, 1.0]
    assert first.num_batches_tracked == 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("coral", {"penalty": -1.0}),
        ("irm", {"penalty": float("nan")}),
        ("irm", {"anneal": 2.0}),
        ("groupdro", {"rate": -0.1}),
        ("mldg", {"beta": -1.0}),
        ("rsc", {"features": 1.0}),
        ("domain_mixup", {"alpha": 0.0}),
    ],
)
def test_an_option_out_of_bounds_is_an_error_that_says_what_it_got(name, options):
    with pytest.raises(ValueError, match="got"):
        ALGORITHMS[name](make_classifier(), [4, 4, 4], **options)
