"""Algorithms on images and feature maps, against what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from afield.algorithms import EFDM, LPFT, MIRO, Batch
from afield.algorithms.amplitude_mix import mix_amplitudes
from afield.algorithms.miro import distance, stage_maps
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective


def test_efdm_gives_each_rank_the_value_of_that_rank_in_the_partner():
    maps = torch.tensor([[[[3.0, 1.0], [2.0, 5.0]]], [[[10.0, 40.0], [30.0, 20.0]]]], requires_grad=True)
    found = EFDM.mixed(maps, torch.tensor([1, 0]), torch.tensor([0.0, 0.75]))
    assert found[0].tolist() == [[[30.0, 10.0], [20.0, 40.0]]]
    # 0.75 of the own value and 0.25 of that of the same rank: 1, 5, 3, 2
    assert found[1].tolist() == [[[7.75, 31.25], [23.25, 15.5]]]
    found.sum().backward()
    assert maps.grad.eq(1).all()


def test_amplitudes_are_mixed_and_phases_kept():
    generator = torch.Generator().manual_seed(0)
    images, others = 0.4 + 0.2 * torch.rand(2, 3, 3, 8, 6, generator=generator, dtype=torch.float64)
    weight = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    found = mix_amplitudes(images, others, weight)
    torch.testing.assert_close(found[0], images[0])
    own, other, mixed = (np.fft.fft2(x.numpy()) for x in (images, others, found))
    share = weight.numpy()[:, None, None, None]
    np.testing.assert_allclose(np.abs(mixed), (1 - share) * np.abs(own) + share * np.abs(other), atol=1e-9)
    differences = np.angle(mixed * own.conj())
    assert np.abs(differences[np.abs(mixed) > 1e-6]).max() < 1e-6


def test_mixed_amplitudes_stay_in_the_range_of_images():
    images, others = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    images[..., 0, 0], others[...] = 1.0, 1.0
    found = mix_amplitudes(images, others, torch.tensor([1.0]))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@pytest.fixture
def miro() -> MIRO:
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    return MIRO(Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0), [6], penalty=0.5)


def test_the_distance_of_maps_is_a_gaussian_log_likelihood_with_a_variance_of_a_tenth_at_first(miro):
    raw = miro.raw_variances[0].detach()
    assert (F.softplus(raw) + 1e-5).tolist() == pytest.approx([0.1] * 8)
    maps, start = torch.rand(2, 4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    likelihood = torch.distributions.Normal(maps, 0.1**0.5).log_prob(start).mean()
    assert float(distance(maps, start, raw)) == pytest.approx(-float(likelihood) - 0.5 * np.log(2 * np.pi), rel=1e-4)


def test_miro_compares_the_network_with_its_own_start(miro):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(6) % 3, torch.zeros(6).long(), torch.arange(6), 0.0)
    normalized = miro.classifier.normalize(images)
    start = stage_maps(miro.oracle, normalized)
    assert [maps.shape[1] for maps in start] == [8, 16, 32]
    miro.eval()
    same = float(miro(batch)["miro"])
    assert same == pytest.approx(0.5 * np.log(0.1) / 2, rel=1e-4)
    with torch.no_grad():
        for weight in miro.classifier.backbone.parameters():
            weight += 0.1
    now = stage_maps(miro.classifier.backbone, normalized)
    pairs = zip(now, start, miro.raw_variances, strict=True)
    expected = 0.5 * np.mean([float(distance(*each)) for each in pairs])
    assert float(miro(batch)["miro"]) == pytest.approx(expected, rel=1e-5)
    miro(batch)["miro"].backward()
    assert all(weight.grad is None for weight in miro.oracle.parameters())
    assert all(raw.grad.abs().sum() > 0 for raw in miro.raw_variances)


def test_lp_ft_trains_the_head_alone_at_first():
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = LPFT(classifier, [6], head=0.4).train()
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(6) % 3, torch.zeros(6).long(), torch.arange(6), 0.39)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    loss = algorithm(batch)["objective"]
    loss.backward()
    assert all(weight.grad is None for weight in classifier.backbone.parameters())
    assert objective.head.weight.grad.abs().sum() > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert classifier.backbone.training
    torch.testing.assert_close(loss, classifier.eval()(images, batch.targets))
    classifier.train()
    algorithm(batch._replace(progress=0.4))["objective"].backward()
    assert classifier.backbone.stem[0].weight.grad.abs().sum() > 0
    assert not torch.equal(classifier.backbone.stem[1].running_mean, before["backbone.stem.1.running_mean"])
