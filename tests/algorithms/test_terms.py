"""The terms of the algorithms beside their penalties, and batches in which there is little to compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch.distributions import Beta, Normal

from afield.algorithms import ALGORITHMS, AVERAGINGS, ERM, Algorithm, AmplitudeMix, Batch, MixStyle, causirl
from afield.algorithms.amplitude_mix import mix_amplitudes
from afield.algorithms.eqrm import kernel_quantile
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts import clusters
from afield.algorithms.parts.domain_gradients import of_domain
from afield.algorithms.parts.pairing import partners_elsewhere, same_class_partners
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.parts.triplets import semi_hard_triplets
from afield.algorithms.sagnet import mixed_styles, swapped_contents
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective
from tests.algorithms.small import DOMAINS, TARGETS, gradient, parts, small

PENALIZED = {
    **{"coral": ["coral"], "irm": ["irm"], "vrex": ["vrex"], "sd": ["sd"], "iga": ["iga"], "fishr": ["fishr"]},
    **{"ib_erm": ["bottleneck"], "ib_irm": ["irm", "bottleneck"], "rdm": ["rdm"], "selfreg": ["pair", "mixture"]},
    **{"causirl_coral": ["distance"], "causirl_mmd": ["distance"], "domain_mmd": ["mmd"], "domain_dann": ["domain"]},
    **{"cdann": ["domain"], "cad": ["bottleneck"], "cond_cad": ["bottleneck"]},
}
DIVIDED = {"ib_erm": 100.0, "ib_irm": 100.0, "rdm": 5.0, "fishr": 1000.0}
"""What the sum is divided by after the start of the penalty, as the default of the largest factor exceeds 1."""


@pytest.mark.parametrize(("name", "penalties"), PENALIZED.items())
def test_the_objective_is_the_cross_entropy_beside_a_penalty(name, penalties):
    algorithm, batch = small(name)
    terms = algorithm(batch)
    assert list(terms) == ["objective", *penalties]
    _, logits, _ = parts(algorithm, batch)
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, TARGETS) / DIVIDED.get(name, 1.0))
    assert all(terms[penalty].item() > 0 for penalty in penalties)


@pytest.mark.parametrize(
    "name", [*sorted(PENALIZED.keys() - {"cad", "cond_cad", "cdann", "selfreg"}), "erm", "rsc", "groupdro"]
)
def test_certain_probabilities_are_as_good_as_class_indices(name):
    found = []
    for targets in (TARGETS, F.one_hot(TARGETS, 3).double()):
        algorithm, batch = small(name)
        torch.manual_seed(4)
        found.append(algorithm(batch._replace(targets=targets)))
    for term, value in found[0].items():
        torch.testing.assert_close(found[1][term], value)


def test_risks_without_slopes_have_zeros():
    algorithm, batch = small("erm")
    found = domain_risks(algorithm.classifier, batch)
    torch.testing.assert_close(found.slopes, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(found.values, torch.stack(parts(algorithm, batch)[2]))
    known = domain_risks(algorithm.classifier, batch, embedded=torch.zeros(12, 5, dtype=torch.float64))
    bias = algorithm.classifier.objective.head.bias.expand(12, 3)
    expected = [F.cross_entropy(bias[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
    torch.testing.assert_close(known.values, torch.stack(expected))


def test_the_part_of_a_domain_has_its_rows_and_the_progress():
    _, batch = small("erm")
    part = of_domain(batch, torch.tensor(1))
    rows = torch.tensor([1, 4, 7, 10])
    for found, values in zip(part[:4], batch[:4], strict=True):
        assert torch.equal(found, values[rows])
    assert part.progress == 0.9
    assert part.target is None
    assert Batch(*batch[:5]).target is None


# CAD


def test_cad_compares_features_as_they_are_and_nothing_without_a_pair_of_a_class():
    algorithm, batch = small("cad", penalty=0.5, temperature=0.25)
    features = parts(algorithm, batch)[0].detach().numpy() / 0.25**0.5
    likeness = np.exp(features @ features.T) * (1 - np.eye(12))
    away = (likeness * (DOMAINS[:, None] != DOMAINS).numpy()).sum(axis=1)
    expected = -np.log(away / likeness.sum(axis=1)).mean()
    assert float(algorithm(batch)["bottleneck"]) == pytest.approx(0.5 * 0.25 / 0.07 * expected)
    rows = torch.tensor([0, 1, 2])  # three classes
    alone = batch._replace(inputs=batch.inputs[rows], targets=TARGETS[rows], domains=DOMAINS[rows])
    assert algorithm(alone)["bottleneck"] == 0
    same = batch._replace(domains=torch.zeros(12, dtype=torch.int64))
    assert algorithm(same)["bottleneck"] == 0


# CausIRL


@pytest.mark.parametrize("name", ["causirl_coral", "causirl_mmd"])
@pytest.mark.parametrize(("count", "compared"), [(0, False), (1, False), (2, True), (10, True), (11, False)])
def test_parts_of_fewer_than_two_examples_are_not_compared(name, count, compared, monkeypatch):
    algorithm, batch = small(name)
    monkeypatch.setattr(causirl, "random_part", lambda domains: torch.arange(len(domains)) < count)
    assert bool(algorithm(batch)["distance"] > 0) == compared


# EQRM


@pytest.mark.parametrize("quantile", [0.001, 0.3, 0.999])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_quantile_does_not_depend_on_the_unit_of_the_risks(quantile, scale):
    risks = scale * torch.tensor([0.3, 0.9, 0.5, 2.0, 0.1], dtype=torch.float64)
    bandwidth = 1.06 * float(risks.std()) * 5**-0.2
    found = kernel_quantile(risks, quantile)
    assert float(Normal(risks, bandwidth).cdf(found).mean()) == pytest.approx(quantile, rel=1e-6)


def test_the_quantile_of_equal_risks_and_of_one_domain():
    found = kernel_quantile(torch.full((3,), 0.7, dtype=torch.float64), 0.75)
    assert float(found) == pytest.approx(0.7 + 0.67448975 * 1e-6, abs=1e-11)
    algorithm, batch = small("eqrm", quantile=0.9, warmup=0.0)
    alone = batch._replace(domains=torch.zeros(12, dtype=torch.int64))
    torch.testing.assert_close(algorithm(alone)["objective"], F.cross_entropy(parts(algorithm, batch)[1], TARGETS))
    early, late = (small("eqrm", warmup=0.9)[0](batch._replace(progress=p))["objective"] for p in (0.899, 0.9))
    assert late > early


# Fishr, IGA, RDM


def test_fishr_follows_each_domain_apart():
    algorithm, batch = small("fishr", decay=0.5)
    assert algorithm.variances.shape == (3, 3, 6)
    algorithm(batch._replace(domains=2 * (DOMAINS // 2)))
    followed = algorithm.variances.clone()
    assert (followed[[0, 2]] > 0).any(dim=(1, 2)).all()
    assert (followed[1] == 0).all()
    assert not followed.requires_grad
    algorithm(batch._replace(domains=torch.ones(12, dtype=torch.int64)))
    assert torch.equal(algorithm.variances[[0, 2]], followed[[0, 2]])


def test_iga_compares_the_gradients_of_the_weights_that_train():
    algorithm, batch = small("iga", penalty=2.0)
    algorithm.classifier.backbone.requires_grad_(False)
    head = algorithm.classifier.objective.head
    slopes = []
    for risk in parts(algorithm, batch)[2]:
        weight, bias = torch.autograd.grad(risk, [head.weight, head.bias], retain_graph=True)
        slopes.append(np.concatenate([weight.numpy().ravel(), bias.numpy()]))
    expected = ((np.stack(slopes) - np.mean(slopes, axis=0)) ** 2).sum()
    assert float(algorithm(batch)["iga"]) == pytest.approx(2 * expected)


def test_the_penalty_of_rdm_is_off_at_first():
    algorithm, batch = small("rdm")
    _, logits, risks = parts(algorithm, batch)
    losses = F.cross_entropy(logits, TARGETS, reduction="none")
    worst = losses[int(np.argmax([float(risk) for risk in risks])) == DOMAINS]
    distance = multi_kernel_mmd(worst[:, None], losses[:, None])
    early, late = (algorithm(batch._replace(progress=progress)) for progress in (0.29, 0.3))
    assert float(early["rdm"]) == 0
    torch.testing.assert_close(early["objective"], losses.mean())
    torch.testing.assert_close(late["rdm"], distance)
    torch.testing.assert_close(late["objective"], losses.mean() / 5)


# Domain-adversarial training


@pytest.mark.parametrize("name", ["domain_dann", "cdann"])
@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.1, 0.46211715726), (0.5, 0.98661429815)])
def test_the_reversal_rises_with_the_progress(name, progress, factor):
    algorithm, batch = small(name, adversary=0.5)
    algorithm.eval()
    full = gradient(algorithm(batch._replace(progress=1e9))["domain"], algorithm)
    found = gradient(algorithm(batch._replace(progress=progress))["domain"], algorithm)
    torch.testing.assert_close(found, factor * full)
    assert full.abs().sum() > 0


# SagNet


def test_styles_are_mixed_by_the_drawn_partner_and_weight():
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    torch.manual_seed(2)
    found = mixed_styles(features)
    torch.manual_seed(2)
    partner, weight = torch.randperm(6).numpy(), torch.rand(6, 1).double().numpy()
    x = features.numpy()
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, ddof=1, keepdims=True) + 1e-5
    new_mean = weight * mean + (1 - weight) * mean[partner]
    new_variance = weight * variance + (1 - weight) * variance[partner]
    np.testing.assert_allclose(found.numpy(), (x - mean) / variance**0.5 * new_variance**0.5 + new_mean, rtol=1e-9)


def test_the_content_of_a_partner_has_no_gradient():
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    torch.manual_seed(2)
    found = swapped_contents(features)
    torch.manual_seed(2)
    partner = torch.randperm(6)
    mean = features.mean(dim=1, keepdim=True)
    deviation = (features.var(dim=1, keepdim=True) + 1e-5).sqrt()
    expected = ((features - mean) / deviation)[partner].detach() * deviation + mean
    torch.testing.assert_close(found, expected)
    weight = torch.arange(48.0, dtype=torch.float64).view(6, 8).sin()
    slopes = [torch.autograd.grad((weight * each).sum(), features, retain_graph=True)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_the_terms_of_sagnet_by_hand():
    algorithm, batch = small("sagnet", adversary=0.3)
    torch.manual_seed(2)
    terms = algorithm(batch)
    torch.manual_seed(2)
    features = parts(algorithm, batch)[0]
    mixed, styled = mixed_styles(features), swapped_contents(features)
    head, second = algorithm.classifier.objective.head, algorithm.style.head
    torch.testing.assert_close(terms["objective"], F.cross_entropy(head(mixed), TARGETS))
    torch.testing.assert_close(terms["style"], F.cross_entropy(second(styled), TARGETS))
    torch.testing.assert_close(terms["adversary"], -0.3 * second(styled).log_softmax(dim=1).mean())
    assert not torch.equal(head.weight, second.weight)


# SelfReg and triplets


def test_a_loss_above_one_counts_as_one_in_selfreg():
    algorithm, batch = small("selfreg", penalty=2.0)
    algorithm.eval()
    rows = torch.tensor([0, 3, 1, 6, 2, 8])  # classes 0 0 1 1 2 2
    pairs = batch._replace(inputs=batch.inputs[rows], targets=TARGETS[rows], domains=DOMAINS[rows], indices=rows)
    for bias, least, most in ((0.0, 0.1, 10.0), (8.0, 1.5, 10.0)):
        algorithm.classifier.objective.head.bias.data[0] = bias
        torch.manual_seed(3)
        terms = algorithm(pairs)
        torch.manual_seed(3)
        first, second = same_class_partners(pairs.targets), same_class_partners(pairs.targets)
        weight = float(Beta(0.5, 0.5).sample())
        features, logits = algorithm.classifier.features(pairs.inputs), algorithm.classifier.logits(pairs.inputs)
        loss = float(F.cross_entropy(logits, pairs.targets))
        assert least < loss < most
        factor = 2.0 * min(loss, 1.0)
        both = ((1.0, logits, logits), (0.3, features, algorithm.projection(features)))
        pair = sum(share * float((x - to[first]).square().mean()) for share, x, to in both)
        mixture = sum(
            share * float((x - weight * to[first] - (1 - weight) * to[second]).square().mean()) for share, x, to in both
        )
        assert float(terms["pair"]) == pytest.approx(factor * weight * pair)
        assert float(terms["mixture"]) == pytest.approx(factor * (1 - weight) * mixture)
        assert float(terms["objective"]) == pytest.approx(loss)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0, 1, 1, 2], [3, 3, 1], [0, 1, 2], [5, 5, 5]])
def test_semi_hard_triplets_of_classes_of_unequal_size(labels):
    generator = torch.Generator().manual_seed(len(labels))
    embeddings = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64)
    squares = ((embeddings[:, None] - embeddings) ** 2).sum(dim=2).tolist()
    losses = []
    for a, own in enumerate(labels):
        negatives = sorted(squares[a][n] for n, label in enumerate(labels) if label != own)
        for p, label in enumerate(labels):
            if label == own and p != a and negatives:
                farther = [distance for distance in negatives if distance > squares[a][p]]
                losses.append(max(0.0, 0.5 + squares[a][p] - (farther[0] if farther else negatives[-1])))
    expected = np.mean(losses) if losses else 0.0
    assert float(semi_hard_triplets(embeddings, torch.tensor(labels), 0.5)) == pytest.approx(expected)


# Images and feature maps


def image_classifier() -> Classifier:
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    return Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)


def image_batch() -> Batch:
    images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(images, TARGETS, DOMAINS, torch.arange(12), 0.9)


def test_amplitude_mix_is_half_of_both_objectives():
    algorithm, batch = AmplitudeMix(image_classifier(), [4, 4, 4], strength=0.6), image_batch()
    torch.manual_seed(2)
    terms = algorithm(batch)
    torch.manual_seed(2)
    weight = 0.6 * torch.rand(12)
    mixed = mix_amplitudes(batch.inputs, batch.inputs[partners_elsewhere(DOMAINS)], weight)
    both = algorithm.classifier.embed(torch.cat([batch.inputs, mixed]))
    logits = algorithm.classifier.objective.head(both)
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits[:12], TARGETS) / 2)
    torch.testing.assert_close(terms["mixed"], F.cross_entropy(logits[12:], TARGETS) / 2)


def test_the_start_of_miro_is_not_changed_by_training():
    batch = image_batch()
    algorithm = ALGORITHMS["miro"](image_classifier(), [4, 4, 4]).train()
    torch.testing.assert_close(algorithm(batch)["objective"], ERM(image_classifier(), [4]).train()(batch)["objective"])
    before = {name: tensor.clone() for name, tensor in algorithm.oracle.state_dict().items()}
    algorithm(batch)
    assert not algorithm.oracle.training
    assert algorithm.classifier.backbone.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in algorithm.oracle.state_dict().items())
    assert not any(weight.requires_grad for weight in algorithm.oracle.parameters())


@pytest.mark.parametrize("mix", ["random", "crossdomain"])
def test_mixstyle_draws_partners_and_weights_for_each_stage(mix, monkeypatch):
    drawn = []

    def record(maps: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        drawn.append((maps.shape[1], partner, weight))
        return maps

    monkeypatch.setattr(MixStyle, "mixed", staticmethod(record))
    algorithm, batch = MixStyle(image_classifier(), [4, 4, 4], mix=mix, alpha=0.4, stages=3), image_batch()
    torch.manual_seed(0)
    for _ in range(100):
        algorithm(batch)
    assert 110 < len(drawn) < 190  # three stages, half of the time
    assert {channels for channels, _, _ in drawn} == {8, 16, 32}
    partners = torch.stack([partner for _, partner, _ in drawn])
    if mix == "random":
        assert torch.equal(partners.sort(dim=1).values, torch.arange(12).expand_as(partners))
    else:
        assert (DOMAINS[partners] != DOMAINS).all()
    weights = torch.stack([weight for _, _, weight in drawn])
    assert weights.shape[1:] == (12,)
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(weights.var()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.02)
    assert MixStyle(image_classifier(), [12]).stages == 2


# Averages of weights, clusters


class Followed(Algorithm):
    """Writes down what it is asked."""

    sampling = "balanced"
    uses_target = True

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier, [12])
        self.calls: list[object] = []

    def start_epoch(self, batches):
        self.calls.append(batches)

    def end_step(self, done, steps, validate):
        self.calls.append((done, steps, validate()))

    def update(self, forward, batch, backward):
        self.calls.append(batch)
        return {"objective": torch.tensor(3.0)}


@pytest.mark.parametrize("name", AVERAGINGS.names)
def test_an_average_passes_on_what_the_loop_asks(name):
    followed = Followed(small("erm")[0].classifier)
    averaging = AVERAGINGS[name](followed)
    assert averaging.sampling == "balanced"
    assert averaging.uses_target is True
    assert averaging.classifier is followed.classifier
    averaging.start_epoch(list)
    assert averaging.update(averaging, small("erm")[1], torch.Tensor.backward)["objective"] == 3
    averaging.end_step(2, 50, lambda: 0.5)
    assert followed.calls[0] is list
    assert followed.calls[1].progress == 0.9
    assert followed.calls[2] == (2, 50, 0.5)
    kept = [weight for key, weight in averaging.named_parameters() if not key.startswith("algorithm.")]
    assert kept
    assert not any(weight.requires_grad for weight in kept)
    batch = small("erm")[1]
    torch.testing.assert_close(averaging(batch)["objective"], followed(batch)["objective"])


def test_clusters_are_the_best_of_ten_starts(monkeypatch):
    made = []

    def recorded(*arguments: int, **options: int) -> KMeans:
        made.append((arguments, options.copy()))
        return KMeans(*arguments, **options)

    monkeypatch.setattr("sklearn.cluster.KMeans", recorded)
    seeds = []
    for seed in range(20):
        torch.manual_seed(seed)
        found = clusters.cluster(torch.tensor([[0.0], [0.1], [5.0]]), 2)
        assert found.dtype == torch.int64
        assert found[0] == found[1] != found[2]
        ((count,), options) = made[-1]
        seeds.append(options.pop("random_state"))
        assert (count, options) == (2, {"n_init": 10})
    assert len(set(seeds)) == 20
    assert max(seeds) > 2**30
