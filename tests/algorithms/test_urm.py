"""URM: the losses of both networks, and which of them learns from what."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.algorithms.small import TARGETS, parts, small


def test_the_terms_of_urm_by_hand():
    algorithm, batch = small("urm", adversary=0.3)
    torch.manual_seed(2)
    terms = algorithm(batch)
    torch.manual_seed(2)
    noise = torch.rand(12, 5).double()
    features, logits, _ = parts(algorithm, batch)
    of_features, of_noise = (algorithm.discriminator(x).squeeze(1) for x in (features.abs().tanh(), noise))
    ones, zeros = torch.ones(12, dtype=torch.float64), torch.zeros(12, dtype=torch.float64)
    entropy = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, TARGETS))
    torch.testing.assert_close(terms["uniform"], 0.3 * entropy(of_features, ones))
    both = entropy(of_noise, ones) + 0.3 * entropy(of_features, zeros)
    torch.testing.assert_close(terms["discriminator"], both)
    assert list(terms) == ["objective", "uniform", "discriminator"]


def test_the_backbone_learns_to_be_noise_and_the_discriminator_to_find_it():
    algorithm, batch = small("urm", adversary=0.5)
    terms = algorithm(batch)
    backbone, layers = list(algorithm.classifier.backbone.parameters()), list(algorithm.discriminator.parameters())

    def slopes(name: str, weights: list[torch.Tensor]) -> list[torch.Tensor | None]:
        return list(torch.autograd.grad(terms[name], weights, retain_graph=True, allow_unused=True))

    assert slopes("uniform", layers) == [None] * 6
    assert slopes("discriminator", backbone) == [None] * 2
    magnitudes = algorithm.classifier.features(batch.inputs).abs().tanh()
    expected = torch.autograd.grad(0.5 * F.softplus(-algorithm.discriminator(magnitudes)).mean(), backbone)
    for found, value in zip(slopes("uniform", backbone), expected, strict=True):
        torch.testing.assert_close(found, value)
    assert all(slope.abs().sum() > 0 for slope in slopes("discriminator", layers))


def test_features_become_more_uniform():
    """The features of a linear layer spread over [0, 1) after tanh; those of the start are all near 0."""
    algorithm, batch = small("urm", adversary=1.0)
    with torch.no_grad():
        algorithm.classifier.backbone[0].weight.mul_(0.05)
        algorithm.classifier.backbone[0].bias.zero_()
    inputs = torch.randn(256, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    batch = batch._replace(inputs=inputs, targets=torch.arange(256) % 3)
    optimizer = torch.optim.Adam(algorithm.parameters(), 0.05)

    def distance() -> float:
        """Of the sorted magnitudes from those of a uniform distribution (Wasserstein)."""
        ordered = algorithm.classifier.features(inputs).abs().tanh().detach().flatten().sort().values
        return float((ordered - torch.linspace(0, 1, len(ordered), dtype=torch.float64)).abs().mean())

    before = distance()
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        sum(algorithm(batch).values()).backward()
        optimizer.step()
    assert before > 0.4
    assert distance() < 0.2
