"""Adaptations after training: values worked out by hand, identities, and what they leave alone."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from afield.adaptation import ADAPTATIONS, SHOT, T3A, BatchNorm, Standardize, Tent, build_adaptation
from afield.adaptation.mutual_information import mutual_information
from afield.algorithms.parts.target import entropy
from afield.classifier import FeatureNorm
from afield.errors import InputError
from afield.heads import HEADS
from tests.adaptation.places import head_classifier, network, source_of, state

AXES = torch.eye(2)
IMAGES = torch.rand(40, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 0.3


def test_standardized_features_take_the_mean_and_deviation_of_the_training_images():
    generator = torch.Generator().manual_seed(0)
    known, new = torch.randn(50, 3, generator=generator), 5 + 4 * torch.randn(40, 3, generator=generator)
    adapted = Standardize(pseudo_count=0).adapt(head_classifier(torch.randn(2, 3)), new, source_of(known))
    moved = adapted.features(new)
    torch.testing.assert_close(moved.mean(dim=0), known.mean(dim=0))
    torch.testing.assert_close(moved.std(dim=0, correction=0), known.std(dim=0, correction=0))


def test_a_classifier_of_standardized_features_is_given_the_new_place_standardized():
    classifier, new = head_classifier(AXES), torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    classifier.feature_norm = FeatureNorm(2)
    adapted = Standardize(pseudo_count=0).adapt(classifier, new, source_of(torch.randn(9, 2)))
    torch.testing.assert_close(adapted.features(new), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert torch.equal(classifier.features(new), new)


def test_two_images_and_two_pseudo_images():
    """The means 2 and 0 give 1, the variances 1 and 4 give 2.5; x becomes (x - 1) / sqrt(2.5) * 2."""
    known, new = torch.tensor([[-2.0], [2.0]]), torch.tensor([[1.0], [3.0]])
    adapted = Standardize(pseudo_count=2).adapt(head_classifier(torch.ones(2, 1)), new, source_of(known))
    assert adapted.features(new).squeeze().tolist() == pytest.approx([0, 4 / math.sqrt(2.5)])


def test_t3a_by_hand():
    """Class 0 has its vector, (6, 0) and (4, 3): units (1, 0), (1, 0), (0.8, 0.6). Class 1 has its vector alone."""
    classifier, new = head_classifier(AXES), torch.tensor([[6.0, 0.0], [4.0, 3.0]])
    vectors = T3A(supports=0, pseudo_count=0).adapt(classifier, new, source_of(new)).objective.head.weight
    torch.testing.assert_close(vectors[0], F.normalize(torch.tensor([2.8 / 3, 0.2]), dim=0))
    assert vectors[1].tolist() == [0, 1]


def test_t3a_keeps_the_most_certain_supports():
    """Margins of the logits: 1 for the class vector, 6 and 1.5 for the features: two stay, and then one."""
    classifier, new = head_classifier(AXES), torch.tensor([[6.0, 0.0], [4.0, 2.5]])
    two = T3A(supports=2, pseudo_count=0).adapt(classifier, new, source_of(new)).objective.head.weight
    units = torch.tensor([[1.0, 0.0], [4.0, 2.5]])
    torch.testing.assert_close(two[0], F.normalize(F.normalize(units, dim=1).sum(dim=0), dim=0))
    one = T3A(supports=1, pseudo_count=0).adapt(classifier, new, source_of(new)).objective.head.weight
    assert one[0].tolist() == [1, 0]


@pytest.mark.parametrize("method", [T3A, SHOT])
def test_new_class_vectors_are_shrunk_towards_those_before(method):
    """Three images and k = 6: a third of the new vectors and bias, two thirds of the old."""
    weight, bias = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.3, -0.3])
    new = torch.tensor([[5.0, 0.0], [4.0, 3.0], [0.0, 2.0]])
    alone, shrunk = (
        method(pseudo_count=k).adapt(head_classifier(weight, bias), new, source_of(new)).objective.head for k in (0, 6)
    )
    torch.testing.assert_close(shrunk.weight, (alone.weight + 2 * weight) / 3)
    torch.testing.assert_close(shrunk.bias, (alone.bias + 2 * bias) / 3)


def t3a_as_published(weight, features, supports):
    """The authors' code (T3A in DomainBed's algorithms.py), for one batch."""
    warm = weight @ weight.T
    z, logits = torch.cat([weight, features]), torch.cat([warm, features @ weight.T])
    labels = F.one_hot(logits.argmax(1), len(weight)).float()
    ent = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    indices = torch.cat(
        [
            torch.arange(len(ent))[labels.argmax(1) == k][ent[labels.argmax(1) == k].argsort()][:supports]
            for k in range(len(weight))
        ]
    )
    weights = F.normalize(z[indices], dim=1).T @ labels[indices]
    return features @ F.normalize(weights, dim=0)


@pytest.mark.parametrize("supports", [1, 5, 20])
def test_t3a_agrees_with_the_published_code(supports):
    generator = torch.Generator().manual_seed(3)
    weight, new = 0.4 * torch.randn(5, 8, generator=generator), 0.5 + torch.randn(60, 8, generator=generator)
    adapted = T3A(supports=supports, pseudo_count=0).adapt(head_classifier(weight), new, source_of(new, 5))
    with torch.no_grad():
        logits = adapted.logits(new) / weight.norm(dim=1).mean()
    torch.testing.assert_close(logits, t3a_as_published(weight, new, supports))


def test_shot_by_hand():
    """On the sphere (cosine head, no bias), certain predictions: each centroid is the mean of its class."""
    new = torch.tensor([[5.0, 0.0], [4.0, 3.0], [0.0, 2.0]])
    adapted = SHOT(pseudo_count=0).adapt(head_classifier(AXES, head="cosine"), new, source_of(new))
    vectors = F.normalize(adapted.objective.head.weight, dim=1)
    torch.testing.assert_close(vectors[0], F.normalize(torch.tensor([1.8, 0.6]), dim=0))
    assert vectors[1].tolist() == [0, 1]


def shot_as_published(weight, bias, features, rounds):
    """The authors' obtain_label (SHOT, object/image_target.py): the labels."""
    import numpy as np
    from scipy.spatial.distance import cdist

    aff = (features @ weight.T + bias).softmax(1).numpy()
    predict = aff.argmax(1)
    fea = torch.cat([features, torch.ones(len(features), 1)], 1)
    fea = (fea.T / fea.norm(dim=1)).T.numpy()
    k = aff.shape[1]
    initc = aff.T.dot(fea) / (1e-8 + aff.sum(axis=0)[:, None])
    labelset = np.where(np.eye(k)[predict].sum(axis=0) > 0)[0]
    labels = labelset[cdist(fea, initc[labelset], "cosine").argmin(axis=1)]
    for _ in range(rounds):
        aff = np.eye(k)[labels]
        initc = aff.T.dot(fea) / (1e-8 + aff.sum(axis=0)[:, None])
        labels = labelset[cdist(fea, initc[labelset], "cosine").argmin(axis=1)]
    return labels


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_shot_predicts_the_published_labels(rounds):
    generator = torch.Generator().manual_seed(4)
    weight, bias = torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator)
    new = torch.randn(80, 6, generator=generator) + 1
    adapted = SHOT(rounds=rounds, pseudo_count=0).adapt(head_classifier(weight, bias), new, source_of(new, 4))
    assert adapted.logits(new).argmax(dim=1).tolist() == shot_as_published(weight, bias, new, rounds).tolist()


def test_shot_keeps_the_vector_of_a_class_that_it_does_not_find():
    weight, new = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    adapted = SHOT(pseudo_count=0).adapt(head_classifier(weight), new, source_of(new, 3))
    torch.testing.assert_close(F.normalize(adapted.objective.head.weight[2], dim=0), -torch.ones(2) / math.sqrt(2))
    assert adapted.objective.head.bias[2].item() == 0


def test_mutual_information_by_hand():
    certain = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert mutual_information(certain).item() == pytest.approx(math.log(2))
    assert mutual_information(certain[:1].expand(4, 2)).item() == pytest.approx(0, abs=1e-6)
    assert mutual_information(torch.tensor([[1e5, -1e5]])).item() == 0
    assert entropy(torch.zeros(1, 3)).item() == pytest.approx(math.log(3))


def layers(classifier):
    return [module for module in classifier.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_batch_norm_with_an_endless_pseudo_count_is_the_identity():
    classifier = network()
    adapted = BatchNorm(pseudo_count=1e9).adapt(classifier, IMAGES, source_of(torch.zeros(2, 16), 3))
    torch.testing.assert_close(adapted.logits(IMAGES), classifier.logits(IMAGES), atol=1e-4, rtol=0)


def test_batch_norm_without_a_pseudo_count_normalizes_by_the_images_alone():
    """One batch: the adapted network in evaluation is the network in training, up to the biased variance."""
    classifier = network()
    adapted = BatchNorm(pseudo_count=0).adapt(classifier, IMAGES, source_of(torch.zeros(2, 16), 3))
    torch.testing.assert_close(adapted.logits(IMAGES), copy.deepcopy(classifier).train().logits(IMAGES))
    assert not torch.allclose(adapted.logits(IMAGES), classifier.logits(IMAGES), atol=1e-2)


def test_batch_norm_statistics_by_hand():
    """The first layer is given what the first convolution makes of the images; k = 40 weighs both alike."""
    classifier = network()
    adapted = BatchNorm(pseudo_count=40).adapt(classifier, IMAGES, source_of(torch.zeros(2, 16), 3))
    first = classifier.backbone.stem[0](classifier.normalize(IMAGES)).movedim(1, -1).flatten(0, 2)
    mean = (first.mean(dim=0) + layers(classifier)[0].running_mean) / 2
    variance = (first.var(dim=0, correction=0) + layers(classifier)[0].running_var) / 2
    torch.testing.assert_close(layers(adapted)[0].running_mean, mean)
    torch.testing.assert_close(layers(adapted)[0].running_var, variance)


def test_images_as_bytes_adapt_as_images_as_floats():
    images, source = torch.randint(0, 256, (70, 3, 12, 12), dtype=torch.uint8), source_of(torch.zeros(2, 16), 3)
    found = [BatchNorm().adapt(network(), given, source).logits(images[:4] / 255) for given in (images, images / 255)]
    torch.testing.assert_close(*found)


def test_tent_lowers_entropy_and_trains_scales_and_shifts_only():
    classifier = network()
    adapted = Tent(learning_rate=0.01, epochs=3).adapt(classifier, IMAGES, source_of(torch.zeros(2, 16), 3))
    before, after = state(classifier), state(adapted)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.rpartition(".")[0].rpartition(".")[2] in ("bn1", "bn2", "1") for name in changed)
    assert entropy(adapted.logits(IMAGES)).mean() < entropy(classifier.logits(IMAGES)).mean()
    assert mutual_information(adapted.logits(IMAGES)) > mutual_information(classifier.logits(IMAGES))


def deciding_network():
    """A network whose predictions for the images differ, and are fairly certain."""
    classifier = network()
    with torch.no_grad():
        features, head = classifier.features(IMAGES), classifier.objective.head
        head.weight.mul_(40)
        head.bias.copy_(-head.weight @ features.mean(dim=0))
    return classifier


def test_tent_that_would_collapse_leaves_the_network_as_it_is(monkeypatch):
    """With large steps entropy falls because one class takes all; mutual information tells, and training stops."""
    classifier, source, collapsing = deciding_network(), source_of(torch.zeros(2, 16), 3), Tent(learning_rate=1.0)
    kept, steps = collapsing.adapt(classifier, IMAGES, source).logits(IMAGES), itertools.count()
    assert torch.equal(kept, classifier.logits(IMAGES))
    monkeypatch.setattr("afield.adaptation.tent._information", lambda *_: next(steps))
    unstopped = collapsing.adapt(classifier, IMAGES, source).logits(IMAGES)
    assert entropy(unstopped).mean() < entropy(kept).mean() / 2
    assert len(unstopped.argmax(dim=1).unique()) < len(kept.argmax(dim=1).unique()) == 3
    assert mutual_information(unstopped) < mutual_information(kept)


@pytest.mark.parametrize("name", ADAPTATIONS.names)
def test_an_adaptation_is_deterministic_and_leaves_its_arguments_alone(name):
    classifier, source = network(), source_of(torch.randn(20, 16, generator=torch.Generator().manual_seed(2)), 3)
    before, images = state(classifier), IMAGES.clone()
    torch.manual_seed(7)
    chance = torch.get_rng_state()
    first, second = (build_adaptation([name]).adapt(classifier, IMAGES, source) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.equal(IMAGES, images)
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
    assert all(p.requires_grad for p in first.parameters())
    assert not torch.equal(first.logits(IMAGES), classifier.logits(IMAGES))
    assert first.logits(IMAGES).isfinite().all()


def test_a_chain_is_its_parts_in_order_on_images_and_on_their_features():
    classifier, source = network(), source_of(torch.randn(20, 16, generator=torch.Generator().manual_seed(2)), 3)
    chain = build_adaptation(["batch_norm", "standardize", "t3a"]).adapt(classifier, IMAGES, source)
    steps = classifier
    for part in (BatchNorm(), Standardize(), T3A()):
        steps = part.adapt(steps, IMAGES, source)
    torch.testing.assert_close(chain.logits(IMAGES), steps.logits(IMAGES))
    assert build_adaptation([]).adapt(classifier, IMAGES, source) is classifier


def test_unknown_names_and_options_are_refused():
    with pytest.raises(InputError, match="unknown adaptation 't3b'; did you mean 't3a'"):
        build_adaptation(["t3b"])
    with pytest.raises(InputError, match="unknown option of adaptation t3a: 'support'; did you mean 'supports'"):
        build_adaptation(["t3a"], {"t3a": {"support": 5}})
    with pytest.raises(InputError, match="unknown adaptation in adaptation_options: 'shot'"):
        build_adaptation(["t3a"], {"shot": {}})
    with pytest.raises(InputError, match="pseudo_count must lie between 0"):
        Standardize(pseudo_count=-1)
    with pytest.raises(InputError, match="tent needs a backbone with normalization layers"):
        Tent().adapt(head_classifier(AXES), AXES, source_of(AXES))


@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "partial_fc"])
def test_t3a_and_shot_move_the_class_vectors_of_any_head(name):
    """Features of two classes, turned by 40 degrees: the vectors follow them, all those of a class alike."""
    turned = torch.tensor([[math.cos(0.7), math.sin(0.7)], [-math.sin(0.7), math.cos(0.7)]])
    classifier = head_classifier(AXES)
    classifier.objective.head = HEADS[name](2, 2)
    with torch.no_grad():
        weight = classifier.objective.head.weight
        weight.copy_(AXES.repeat_interleave(len(weight) // 2, dim=0))
    for method in ("t3a", "shot"):
        adapted = build_adaptation([method], {method: {"pseudo_count": 0}}).adapt(
            classifier, 9 * turned.repeat(30, 1), source_of(AXES)
        )
        vectors = F.normalize(adapted.objective.head.weight, dim=1)
        expected = turned.repeat_interleave(len(weight) // 2, dim=0)
        torch.testing.assert_close(vectors, expected, atol=0.02, rtol=0)
