"""Penalties on logits, features and gradients of the domains, against what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from afield.algorithms.cad import neighbor_losses
from afield.algorithms.causirl import random_part
from afield.algorithms.coral import coral_distance
from afield.algorithms.domain_mmd import mean_mmd
from afield.algorithms.eqrm import kernel_quantile
from afield.algorithms.fishr import gradient_variance
from afield.algorithms.ib_erm import feature_variance
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts.pairing import same_class_partners
from afield.algorithms.sagnet import mixed_styles, swapped_contents
from tests.algorithms.small import DOMAINS, TARGETS, gradient, parts, small


def test_sd_is_the_mean_square_of_the_logits():
    algorithm, batch = small("sd", penalty=0.5)
    _, logits, _ = parts(algorithm, batch)
    terms = algorithm(batch)
    assert float(terms["sd"]) == pytest.approx(0.5 * (logits.detach().numpy() ** 2).mean())
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, TARGETS))


def test_the_bottleneck_is_the_variance_within_a_domain():
    features = torch.tensor([[0.0, 1.0], [2.0, 5.0], [7.0, 7.0], [7.0, 9.0], [3.0, 3.0]], dtype=torch.float64)
    # variances (2, 8) and (0, 2); the domain of one example has none
    assert float(feature_variance(features, torch.tensor([0, 0, 4, 4, 9]))) == pytest.approx((5 + 1) / 2)
    assert float(feature_variance(features[:1], torch.tensor([0]))) == 0


@pytest.mark.parametrize(("name", "with_irm"), [("ib_erm", False), ("ib_irm", True)])
def test_the_bottleneck_counts_after_the_start_and_divides_the_sum(name, with_irm):
    algorithm, batch = small(name, penalty=8.0, anneal=0.5)
    features, logits, risks = parts(algorithm, batch)
    early, late = algorithm(batch._replace(progress=0.49)), algorithm(batch)
    mean = torch.stack(risks).mean()
    torch.testing.assert_close(early["objective"], mean)
    assert early["bottleneck"] == 0
    scale = 100.0 if with_irm else 8.0
    torch.testing.assert_close(late["objective"], mean / scale)
    variance = np.mean([features.detach().numpy()[d == DOMAINS].var(axis=0, ddof=1).mean() for d in range(3)])
    assert float(late["bottleneck"]) == pytest.approx(variance)
    if with_irm:
        rows = ((logits.softmax(1) - F.one_hot(TARGETS, 3)) * logits).sum(1)
        slopes = torch.stack([rows[d == DOMAINS].mean() for d in range(3)])
        torch.testing.assert_close(early["irm"], slopes.square().mean())
        torch.testing.assert_close(late["irm"], 8 / 100 * slopes.square().mean())


def test_irm_starts_at_half_and_vrex_at_once_with_the_factor_1():
    for name, early in (("irm", 0.0), ("vrex", 1.0)):
        algorithm, batch = small(name)
        before, after = algorithm(batch._replace(progress=0.49)), algorithm(batch._replace(progress=0.5))
        assert after[name] > 0
        torch.testing.assert_close(before[name], early * after[name])
        torch.testing.assert_close(before["objective"], after["objective"])


def test_iga_is_the_spread_of_the_gradients_of_the_domains():
    algorithm, batch = small("iga", penalty=0.25)
    slopes = np.stack([gradient(risk, algorithm).numpy() for risk in parts(algorithm, batch)[2]])
    expected = sum(((slope - slopes.mean(axis=0)) ** 2).sum() for slope in slopes)
    assert float(algorithm(batch)["iga"]) == pytest.approx(0.25 * expected)


def test_the_gradient_of_iga_is_the_numerical_one():
    algorithm, batch = small("iga")
    weight = algorithm.classifier.objective.head.weight
    (found,) = torch.autograd.grad(algorithm(batch)["iga"], weight)
    step = 1e-6
    values = []
    for sign in (1, -1):
        weight.data[1, 2] += sign * step
        values.append(float(algorithm(batch)["iga"]))
        weight.data[1, 2] -= sign * step
    assert float(found[1, 2]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_the_variance_of_a_gradient_is_that_of_the_gradients_of_single_examples():
    algorithm, batch = small("fishr")
    features, logits, _ = parts(algorithm, batch)
    features = features.detach()
    head, single = algorithm.classifier.objective.head, []
    for row, target in zip(features, TARGETS, strict=True):
        found = torch.autograd.grad(F.cross_entropy(head(row[None]), target[None]), [head.weight, head.bias])
        single.append(torch.cat([found[0], found[1][:, None]], dim=1))
    errors = logits.detach().softmax(1) - F.one_hot(TARGETS, 3)
    torch.testing.assert_close(gradient_variance(errors, features), torch.stack(single).var(dim=0, correction=0))


def test_fishr_is_the_distance_of_the_variances_followed_by_a_moving_average():
    algorithm, batch = small("fishr", penalty=1.0, decay=0.75)
    features, logits, _ = parts(algorithm, batch)
    errors = logits.softmax(1) - F.one_hot(TARGETS, 3)
    now = torch.stack([gradient_variance(errors[d == DOMAINS], features[d == DOMAINS]) for d in range(3)])
    followed = torch.zeros_like(now)
    for _ in range(2):
        followed = 0.75 * followed.detach() + 0.25 * now
        expected = torch.stack([(f - followed.mean(0)).square().mean() for f in followed]).mean() / 0.25**2
        terms = algorithm(batch)
        torch.testing.assert_close(terms["fishr"], expected)
        torch.testing.assert_close(gradient(terms["fishr"], algorithm), gradient(expected, algorithm))
    assert algorithm(batch._replace(progress=0.29))["fishr"] == 0


def test_partners_have_the_same_class_and_each_is_the_partner_of_one():
    torch.manual_seed(0)
    targets = torch.tensor([2, 0, 1, 0, 2, 2, 0, 1, 5])
    seen = torch.stack([same_class_partners(targets) for _ in range(300)])
    assert torch.equal(seen.sort(dim=1).values, torch.arange(9).expand(300, 9))
    assert (targets[seen] == targets).all()
    counts = torch.stack([(seen[:, 0] == other).sum() for other in (0, 4, 5)])
    assert counts.min() > 70  # one of three each, 100 expected


def test_selfreg_with_one_example_a_class_draws_features_to_their_own_projection():
    algorithm, batch = small("selfreg")
    rows = torch.tensor([0, 1, 2])
    alone = batch._replace(inputs=batch.inputs[rows], targets=TARGETS[rows], domains=DOMAINS[rows], indices=rows)
    terms = algorithm(alone)
    features = algorithm.classifier.features(alone.inputs)
    distance = 0.3 * float((features - algorithm.projection(features)).square().mean())
    loss = F.cross_entropy(algorithm.classifier.logits(alone.inputs), alone.targets)
    assert float(terms["pair"] + terms["mixture"]) == pytest.approx(min(float(loss), 1.0) * distance)


def test_selfreg_by_hand_where_each_class_has_two_examples():
    algorithm, batch = small("selfreg", penalty=2.0)
    rows = torch.tensor([0, 3, 1, 6, 2, 8])  # classes 0 0 1 1 2 2
    pairs = batch._replace(inputs=batch.inputs[rows], targets=TARGETS[rows], domains=DOMAINS[rows], indices=rows)
    torch.manual_seed(3)
    terms = algorithm(pairs)
    torch.manual_seed(3)
    first, second = same_class_partners(pairs.targets), same_class_partners(pairs.targets)
    weight = float(torch.distributions.Beta(0.5, 0.5).sample())
    features, logits = algorithm.classifier.features(pairs.inputs), algorithm.classifier.logits(pairs.inputs)
    loss = F.cross_entropy(logits, pairs.targets)
    projected = algorithm.projection(features)
    mixed = [weight * x[first] + (1 - weight) * x[second] for x in (logits, projected)]
    pair = (logits - logits[first]).square().mean() + 0.3 * (features - projected[first]).square().mean()
    mixture = (logits - mixed[0]).square().mean() + 0.3 * (features - mixed[1]).square().mean()
    factor = 2 * min(float(loss), 1.0)
    assert float(terms["pair"]) == pytest.approx(factor * weight * float(pair))
    assert float(terms["mixture"]) == pytest.approx(factor * (1 - weight) * float(mixture))


def test_a_random_part_takes_the_first_rows_of_each_domain_and_never_all():
    torch.manual_seed(0)
    counts = set()
    for _ in range(200):
        first = random_part(DOMAINS)
        for domain in range(3):
            own = first[domain == DOMAINS].tolist()
            assert own == sorted(own, reverse=True)
            counts.add(sum(own))
    assert counts == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["causirl_coral", "causirl_mmd"])
def test_causirl_is_the_distance_of_the_two_parts(name):
    algorithm, batch = small(name, penalty=3.0)
    features, _, _ = parts(algorithm, batch)
    torch.manual_seed(5)
    terms = algorithm(batch)
    torch.manual_seed(5)
    first = random_part(DOMAINS)
    assert 2 <= first.sum() <= 10
    expected = {
        "causirl_coral": coral_distance(features, first),
        "causirl_mmd": multi_kernel_mmd(features[first], features[~first]),
    }
    torch.testing.assert_close(terms["distance"], 3 * expected[name])


def test_the_discrepancy_of_domains_is_the_mean_over_pairs():
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b, c = (features[d == DOMAINS] for d in range(3))
    expected = (multi_kernel_mmd(a, b) + multi_kernel_mmd(a, c) + multi_kernel_mmd(b, c)) / 3
    torch.testing.assert_close(mean_mmd(features, DOMAINS), expected)
    assert mean_mmd(features, torch.zeros(12)) == 0


def test_the_class_weights_of_cdann_sum_to_one_for_each_class():
    algorithm, batch = small("cdann")
    algorithm.eval()
    features = algorithm.classifier.features(batch.inputs)
    targets = torch.tensor([0] * 9 + [1] * 3)
    found = algorithm.domain_loss(features, batch._replace(targets=targets))
    logits = algorithm.discriminator(features + algorithm.class_embedding.weight[targets])
    losses = F.cross_entropy(logits, DOMAINS, reduction="none")
    torch.testing.assert_close(found, (losses[:9].mean() + losses[9:].mean()) / 3)


def test_the_domain_adversary_reverses_its_gradient_for_the_backbone_alone():
    algorithm, batch = small("domain_dann", adversary=0.5)
    algorithm.eval()
    features = algorithm.classifier.features(batch.inputs)
    plain = F.cross_entropy(algorithm.discriminator(features), DOMAINS)
    terms = algorithm(batch._replace(progress=1e9))
    torch.testing.assert_close(terms["domain"], plain)
    torch.testing.assert_close(gradient(terms["domain"], algorithm), -0.5 * gradient(plain, algorithm))
    weight = algorithm.discriminator[0].weight
    found, expected = (torch.autograd.grad(loss, weight)[0] for loss in (terms["domain"], plain))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_loss_of_a_neighbor_by_hand(conditional):
    _, batch = small("cad")
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = []
    for i in range(12):
        likeness = {j: float((features[i] @ features[j]).exp()) for j in range(12) if j != i}
        if conditional:
            likeness = {j: value for j, value in likeness.items() if TARGETS[j] == TARGETS[i]}
        away = sum(value for j, value in likeness.items() if DOMAINS[j] != DOMAINS[i])
        if away:
            expected.append(-np.log(away / sum(likeness.values())))
    assert neighbor_losses(features, batch, conditional).tolist() == pytest.approx(expected)


def test_cad_has_the_temperature_and_its_factor():
    algorithm, batch = small("cad", penalty=0.5, temperature=0.2, normalized=True)
    features, _, _ = parts(algorithm, batch)
    expected = neighbor_losses(F.normalize(features) / 0.2**0.5, batch, False).mean()
    torch.testing.assert_close(algorithm(batch)["bottleneck"], 0.5 * 0.2 / 0.07 * expected)


def test_the_quantile_is_where_the_kernels_say_and_its_gradient_is_the_numerical_one():
    risks = torch.tensor([0.3, 0.9, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    found = kernel_quantile(risks, 0.75)
    bandwidth = 1.06 * float(risks.detach().std()) * 4**-0.2
    below = Normal(risks.detach(), bandwidth).cdf(found.detach()).mean()
    assert float(below) == pytest.approx(0.75, abs=1e-9)
    assert torch.autograd.gradcheck(lambda x: kernel_quantile(x, 0.75), (risks,), eps=1e-5, atol=1e-6)
    assert float(kernel_quantile(torch.full((3,), 0.7), 0.75)) == pytest.approx(0.7, abs=1e-4)


def test_eqrm_starts_with_the_mean_risk():
    algorithm, batch = small("eqrm")
    risks = torch.stack(parts(algorithm, batch)[2])
    torch.testing.assert_close(algorithm(batch._replace(progress=0.49))["objective"], risks.mean())
    torch.testing.assert_close(algorithm(batch)["objective"], kernel_quantile(risks, 0.75))
    assert kernel_quantile(risks, 0.75) > risks.mean()


def test_rdm_compares_the_worst_domain_with_all():
    algorithm, batch = small("rdm", penalty=1.0)
    _, logits, risks = parts(algorithm, batch)
    losses = F.cross_entropy(logits, TARGETS, reduction="none")
    worst = int(np.argmax([float(risk) for risk in risks]))
    expected = multi_kernel_mmd(losses[worst == DOMAINS][:, None], losses[:, None])
    torch.testing.assert_close(algorithm(batch)["rdm"], expected)
    assert float(algorithm(batch._replace(progress=0.29))["rdm"]) == 0
    torch.testing.assert_close(algorithm(batch._replace(progress=0.3))["rdm"], expected)


def test_contents_are_swapped_and_styles_are_mixed():
    torch.manual_seed(0)
    features = torch.randn(6, 50, dtype=torch.float64) * torch.arange(1.0, 7)[:, None] + torch.arange(6.0)[:, None]
    mean, deviation = features.mean(dim=1), features.std(dim=1)
    swapped = swapped_contents(features)
    torch.testing.assert_close(swapped.mean(dim=1), mean)
    torch.testing.assert_close(swapped.std(dim=1), deviation, rtol=1e-4, atol=0)
    contents = [((f - f.mean()) / f.std(keepdim=True)) for f in features]
    of = [int(torch.stack([(c * s).mean() for c in contents]).argmax()) for s in swapped - mean[:, None]]
    assert sorted(of) == [0, 1, 2, 3, 4, 5]
    assert of != [0, 1, 2, 3, 4, 5]
    mixed = mixed_styles(features)
    for f, m in zip(features, mixed, strict=True):
        torch.testing.assert_close(torch.corrcoef(torch.stack([f, m]))[0, 1], torch.tensor(1.0, dtype=torch.float64))
        assert mean.min() <= m.mean() <= mean.max()
        assert deviation.min() - 1e-3 <= m.std() <= deviation.max() + 1e-3


def test_the_adversary_of_sagnet_reaches_the_backbone_and_its_second_head_learns_apart():
    algorithm, batch = small("sagnet")
    terms = algorithm(batch)
    head = list(algorithm.style.parameters())
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(terms["adversary"], head, retain_graph=True)
    assert all(slope.abs().sum() > 0 for slope in torch.autograd.grad(terms["style"], head, retain_graph=True))
    assert gradient(terms["style"], algorithm).abs().sum() == 0
    assert gradient(terms["adversary"], algorithm).abs().sum() > 0
    assert float(terms["adversary"]) >= 0.1 * np.log(3) - 1e-9  # the uniform prediction has the lowest loss
