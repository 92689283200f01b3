"""Methods for a new place against skada: equal values and gradients where definitions agree, and each difference.

skada has no MCD, T3A, SHOT, Tent, ATC, or shrinkage of statistics, and neither a schedule of the reversed gradient nor
the entropy weights of CDAN+E.
"""

import copy
import math
from unittest.mock import patch

import numpy as np
import pytest
import sklearn
import torch
import torch.nn.functional as F
from torch import nn

from afield.adaptation import Standardize
from afield.algorithms import CDAN, DANN, MCC, Batch, DeepCORAL
from afield.algorithms.cdan import RandomProduct
from afield.algorithms.coral import coral_distance
from afield.algorithms.mcc import class_confusion
from afield.algorithms.mmd import SCALES, multi_kernel_mmd
from afield.algorithms.parts.optimal_transport import transport_distance, transport_plan
from tests.adaptation.places import head_classifier, source_of

with sklearn.config_context():  # its import switches scikit-learn's metadata routing on, for the whole process
    skada = pytest.importorskip("skada", reason="skada is not installed")
    deep = pytest.importorskip("skada.deep", reason="skada[deep] is not installed", exc_type=ImportError)
    from skada.deep._adversarial import CDANModule
    from skada.deep.losses import deepjdot_loss
    from skada.deep.modules import DomainClassifier, GradientReversalLayer

B, K, D = 12, 5, 6


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


SOURCE, TARGET = random(B, D), 1.5 * random(B, D, seed=1) + 0.5


def value_and_gradients(loss, *inputs, also=()):
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return value.detach(), *torch.autograd.grad(value, [*leaves, *also])


def assert_the_same(ours, theirs, factor=1.0):
    """Ours is theirs times the factor; of gradients, up to 1e-5 of the largest entry."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, factor * b, atol=1e-5 * factor * b.abs().max().item(), rtol=0)


# CORAL: theirs is of covariances alone, divided by 4 D^2 as in the paper; ours is DomainBed's.


def test_deep_coral_is_four_times_theirs_and_the_distance_of_the_means():
    def ours(source, target):
        domains = torch.zeros(B, dtype=torch.int64)
        batch = Batch(source, torch.arange(B) % K, domains, torch.arange(B), 0.0, target)
        return DeepCORAL(head_classifier(random(K, D, seed=2)), [B])(batch)["coral"]

    def theirs(source, target):
        means = (source.mean(dim=0) - target.mean(dim=0)).square().mean()
        return 4 * deep.DeepCoralLoss()(features_s=source, features_t=target) + means

    assert_the_same(value_and_gradients(ours, SOURCE, TARGET), value_and_gradients(theirs, SOURCE, TARGET))


def test_their_coral_does_not_see_that_features_have_moved():
    both, domains = torch.cat([SOURCE, SOURCE + 2]), torch.arange(2).repeat_interleave(B)
    assert deep.DeepCoralLoss()(features_s=SOURCE, features_t=SOURCE + 2) == pytest.approx(0, abs=1e-12)
    assert coral_distance(both, domains) == pytest.approx(4, rel=1e-5)


# DAN: theirs is the sum of exp(-distance / width), ours the mean of exp(-distance^2 / width). Their default widths are
# 33 multiples of the median distance within the source, zeros of the diagonal included, and pass a gradient; ours are 5
# multiples of the mean squared distance within both sides, and pass none. The estimator is the same.


def test_mmd_is_theirs_where_all_distances_are_equal_and_its_gradient_twice_theirs():
    """The squared distance of two axes is 2, its slope 2 sqrt(2) times that of the distance."""
    source, target = torch.eye(9).split([4, 5])
    theirs = deep.DANLoss(sigmas=[scale * 2**0.5 for scale in SCALES])
    value, *gradients = value_and_gradients(multi_kernel_mmd, source, target)
    expected, *slopes = value_and_gradients(lambda s, t: theirs(features_s=s, features_t=t), source, target)
    assert_the_same([value], [expected], factor=1 / len(SCALES))
    assert_the_same(gradients, slopes, factor=2 / len(SCALES))


def test_their_kernel_falls_with_the_distance_and_ours_with_its_square():
    corners = torch.tensor([[0.0], [1.0], [3.0]])
    kernel = [[math.exp(-abs(a - b)) for a in (0, 1, 3)] for b in (0, 1, 3)]
    expected = kernel[0][0] + (2 + 2 * kernel[1][2]) / 4 - (kernel[0][1] + kernel[0][2])
    assert deep.DANLoss(sigmas=[1.0])(features_s=corners[:1], features_t=corners[1:]) == pytest.approx(expected)
    mean = (1 + 9 + 4) / 3
    gaussian = [sum(math.exp(-square / (scale * mean)) for scale in SCALES) / 5 for square in (1, 9, 4)]
    expected = 1 + (2 + 2 * gaussian[2]) / 4 - (gaussian[0] + gaussian[1])
    assert multi_kernel_mmd(corners[:1], corners[1:]) == pytest.approx(expected, rel=1e-5)


# MCC: the same, but gradients of theirs go through the weights, which the authors' code detaches, and the temperature
# is 1 by default, where the paper and ours have 2.5.


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_class_confusion_has_their_values_and_their_gradients_but_through_the_weights(temperature):
    logits = 3 * random(B, K)
    loss = deep.MCCLoss(T=temperature)
    ours = value_and_gradients(lambda x: class_confusion(x, temperature), logits)
    theirs = value_and_gradients(lambda y: loss(y_pred_t=y), logits)
    assert_the_same(ours[:1], theirs[:1])
    assert (ours[1] - theirs[1]).abs().max() > 0.01 * theirs[1].abs().max()
    with patch.object(torch, "exp", lambda x: x.exp().detach()):  # nothing but their weights calls it
        assert_the_same(ours, value_and_gradients(lambda y: loss(y_pred_t=y), logits))


def test_their_temperature_is_not_that_of_the_paper():
    assert deep.MCCLoss().T == 1
    assert MCC(head_classifier(random(K, D)), [B]).temperature == 2.5


# DANN and CDAN: theirs adds the losses of both sides, ours averages them. Their target is positive, ours negative.


class Judge(nn.Module):
    """Our discriminator behind their reversal, as their losses need it: the probability of the target."""

    def __init__(self, discriminator, factor):
        super().__init__()
        self.discriminator, self.factor = discriminator, factor

    def forward(self, features):
        return (-self.discriminator(GradientReversalLayer.apply(features, self.factor))).sigmoid()


def adversarial(kind, weight, progress, size):
    """The algorithm without dropout, and its ``domain`` as a function of both sides' features."""
    torch.manual_seed(0)
    algorithm = kind(head_classifier(weight), [size], adversary=0.7, hidden=8).eval()
    rest = torch.zeros(3, size, dtype=torch.int64)
    return algorithm, lambda source, target: algorithm(Batch(source, *rest, progress, target))["domain"]


@pytest.mark.parametrize("progress", [0.05, 0.5])
def test_dann_has_half_their_loss_and_gradients_with_the_factor_of_the_schedule(progress):
    algorithm, ours = adversarial(DANN, random(K, D, seed=2), progress, B)
    judge = Judge(algorithm.discriminator, 0.7 * (2 / (1 + math.exp(-10 * progress)) - 1))
    parameters = [*algorithm.discriminator.parameters()]

    def theirs(source, target):
        return deep.DANNLoss()(domain_pred_s=judge(source), domain_pred_t=judge(target))

    found = value_and_gradients(ours, SOURCE, TARGET, also=parameters)
    assert found[1].abs().max() > 1e-4
    assert_the_same(found, value_and_gradients(theirs, SOURCE, TARGET, also=parameters), factor=0.5)


def test_their_default_discriminator_is_a_softmax_of_one_output_which_is_1():
    with pytest.warns(UserWarning, match="softmax"):
        assert DomainClassifier(num_features=D)(SOURCE).tolist() == [1.0] * B


class Predictor(nn.Module):
    """Features -> probabilities without a gradient. Their module takes what the network gives, and its gradient."""

    def __init__(self, head):
        super().__init__()
        self.layer, self.head = nn.Identity(), head

    def forward(self, features):
        return self.head(self.layer(features)).softmax(dim=1).detach()


def their_cdan(algorithm, judge, **options):
    """Features -> what their module gives the discriminator, or what that says."""
    module = CDANModule(Predictor(copy.deepcopy(algorithm.classifier.objective.head)), "layer", judge, **options)
    return lambda features: module(features)[1]


def turned(*row):
    """A row turned by each number of places. With an identity head, all predictions are equally certain."""
    return torch.stack([torch.tensor(row).roll(by) for by in range(len(row))])


def test_cdan_has_half_their_loss_and_gradients_where_all_predictions_are_equally_certain():
    algorithm, ours = adversarial(CDAN, torch.eye(K), 0.1, K)
    judged = their_cdan(algorithm, Judge(algorithm.discriminator, 0.7 * (2 / (1 + math.exp(-1)) - 1)))
    parameters = [*algorithm.discriminator.parameters()]

    def theirs(source, target):
        predictions = {"domain_pred_s": judged(source), "domain_pred_t": judged(target)}
        return deep.CDANLoss()(**predictions, features_s=source, features_t=target)

    sides = turned(2.0, 0.5, -1.0, 0.0, 0.3), turned(0.1, 0.4, 1.0, -2.0, 0.2)
    found = value_and_gradients(ours, *sides, also=parameters)
    assert found[1].abs().max() > 1e-4
    assert_the_same(found, value_and_gradients(theirs, *sides, also=parameters), factor=0.5)
    uneven = sides[0] * torch.arange(1.0, K + 1)[:, None], sides[1]
    assert ours(*uneven).item() != pytest.approx(theirs(*uneven).item() / 2, rel=1e-4)  # theirs has no weights


def test_random_products_are_theirs_with_their_matrices_which_they_draw_again_at_each_step():
    algorithm, _ = adversarial(CDAN, random(K, D, seed=2), 0.0, B)
    product = RandomProduct(D, K, 20)
    with torch.random.fork_rng():  # theirs seeds PyTorch's global generator
        projected = their_cdan(algorithm, nn.Identity(), max_features=20)
        theirs = value_and_gradients(lambda x: projected(x).square().sum(), SOURCE)
        torch.manual_seed(42)
        matrices = {"of_features": torch.randn(D, 20), "of_probabilities": torch.randn(K, 20)}
    product.load_state_dict(matrices)
    probabilities = algorithm.classifier.logits(SOURCE).softmax(dim=1).detach()
    assert_the_same(value_and_gradients(lambda x: product(x, probabilities).square().sum(), SOURCE), theirs)


# Optimal transport: for unit vectors, their squared distance is twice our cost, 1 - cosine.


def test_transport_plans_are_theirs_at_twice_the_regularization():
    source, target = (F.normalize(x.double(), dim=1) for x in (SOURCE, TARGET[:7]))
    adapter = skada.EntropicOTMappingAdapter(reg_e=0.6, max_iter=10_000, tol=1e-12)
    adapter.fit(torch.cat([source, target]).numpy(), sample_domain=np.repeat([1, -2], [B, 7]))
    plan = transport_plan(1 - source @ target.T, 0.3, 500)
    torch.testing.assert_close(plan, torch.from_numpy(adapter.ot_transport_.coupling_), atol=1e-9, rtol=1e-6)


def test_the_transport_distance_at_a_small_blur_is_half_the_distance_of_deepjdot_without_labels():
    def theirs(source, target):
        source, target = F.normalize(source, dim=1), F.normalize(target, dim=1)
        labels, weights = torch.zeros(B, dtype=torch.int64), torch.full((2, B), 1 / B, dtype=torch.float64)
        return deepjdot_loss(labels, torch.zeros(B, K).double(), source, target, 1, 0, *weights)

    sides = SOURCE.double(), SOURCE.double().flip(0) + 0.3 * random(B, D, seed=1)  # one plan is clearly the best
    ours = value_and_gradients(lambda s, t: transport_distance(s, t, blur=0.005, rounds=100), *sides)
    assert_the_same(ours, value_and_gradients(theirs, *sides), factor=0.5)


# Standardized features: theirs is the transport of one normal distribution to another, with full covariances.


def test_standardize_is_their_linear_transport_of_each_feature_by_itself():
    new, domains = TARGET[:7], np.repeat([1, -2], [7, B])  # the new place is what is moved
    adapted = Standardize(pseudo_count=0).adapt(head_classifier(random(K, D)), new, source_of(SOURCE))
    columns, adapter = torch.cat([new, SOURCE]).double().split(1, dim=1), skada.LinearOTMappingAdapter()
    moved = [torch.from_numpy(adapter.fit_transform(x.numpy(), sample_domain=domains)) for x in columns]
    assert_the_same([adapted.features(new).double()], [torch.cat(moved, dim=1)[:7]])
