"""Translation between classes: losses by hand, pools, classes and probabilities, labels, resuming, the command."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.augment import (
    CycleGanAugmentor,
    CycleGanConfig,
    MixingAugmentation,
    Mixup,
    RelabelingAugmentation,
    TranslatorConfig,
    Visit,
    build_chain,
    in_words,
    sample_at,
)
from afield.augment.chain import Chain
from afield.augment.learned import CycleGanGame, CycleGanSettings, learn_cyclegan, measure_translations
from afield.augment.learned.cyclegan.classes import choose_classes, target_probabilities
from afield.augment.learned.cyclegan.pair import Pair
from afield.augment.learned.cyclegan.pool import ImagePool
from afield.augment.networks.cyclegan_augmentor import NO_TARGET, CycleGanParams
from afield.data import ImageSet
from afield.errors import InputError
from afield.evaluation import diagnose_cyclegan
from afield.preview.draws import subjects
from afield.preview.failures import hardest
from afield.records import read_json
from afield.reporting.learned import measure_curves
from afield.training import Subset, prepared
from afield.training.target import target_batches
from tests.augment.learned.interrupted import ends_the_same
from tests.conftest import write_photos

SMALL = TranslatorConfig(width=4, blocks=1)
NAMES = ("cat", "dog", "lynx", "wolf")
TWO = CycleGanConfig(NAMES, reference="dog", probabilities={"wolf": 0.5, "lynx": 0.25}, network=SMALL)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, height=12, width=12, seed=7):
    return torch.rand(count, 3, height, width, generator=generator(seed))


def augmentor(config=TWO):
    torch.manual_seed(0)
    return CycleGanAugmentor(config)


def source(labels, size=8):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    return Subset(pixels, np.array(labels, dtype=np.int64), np.arange(len(labels)))


def classifier(size=8, classes=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))


class Shift(nn.Module):
    """A translator that adds a learned number to all pixels."""

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, batch):
        return batch + self.shift


class Score(nn.Module):
    """A discriminator: the mean pixel of each image times a learned number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, batch):
        return self.factor * batch.mean(dim=(1, 2, 3))


def pair(to_b=0.25, to_a=-0.125, pool=50):
    found = Pair(Shift(to_b), SMALL, pool)
    found.to_a = Shift(to_a)
    found.discriminator_a, found.discriminator_b = Score(2.0), Score(0.5)
    return found


# Sampling and labels.


def test_images_of_the_reference_become_each_target_with_its_probability_and_no_others_do():
    targets = torch.arange(4).repeat(5000)
    params = augmentor().sample_for(targets, generator())
    found = params.target[targets == 1]
    shares = [(found == index).double().mean().item() for index in (3, 2, NO_TARGET)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    assert set(found.tolist()) == {3, 2, NO_TARGET}
    assert (params.target[targets != 1] == NO_TARGET).all()


def test_the_draw_for_an_image_does_not_depend_on_the_labels_of_the_others():
    some, all_dogs = torch.tensor([1, 0, 1, 3, 1, 2]), torch.ones(6, dtype=torch.int64)
    first, second = (augmentor().sample_for(targets, generator(4)).target for targets in (some, all_dogs))
    assert torch.equal(first[some == 1], second[some == 1])


def test_a_translated_image_has_the_label_of_its_new_class_and_the_pixels_of_its_translator():
    augment, batch, targets = augmentor(), images(), torch.tensor([1, 1, 0, 1, 2, 3])
    params = CycleGanParams(torch.tensor([3, NO_TARGET, NO_TARGET, 2, NO_TARGET, NO_TARGET]), NAMES)
    found = augment.apply(batch, params)
    assert augment.relabel(targets, params).tolist() == [3, 1, 0, 2, 2, 3]
    wolf, lynx = augment.network  # in the order of the probabilities
    torch.testing.assert_close(found[0], wolf(batch[:1])[0])
    torch.testing.assert_close(found[3], lynx(batch[3:4])[0])
    assert torch.equal(found[[1, 2, 4, 5]], batch[[1, 2, 4, 5]])
    assert not torch.equal(found[0], batch[0])


def test_probabilities_of_a_translated_image_move_from_the_reference_to_its_new_class():
    augment = augmentor()
    params = CycleGanParams(torch.tensor([3, 2, NO_TARGET]), NAMES)
    targets = torch.tensor([[0.2, 0.7, 0.0, 0.1], [0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    expected = torch.tensor([[0.2, 0.0, 0.0, 0.8], [0.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    before = targets.clone()
    torch.testing.assert_close(augment.relabel(targets, params), expected)
    assert torch.equal(targets, before)
    hard = torch.tensor([1, 1, 0])
    one_hot = nn.functional.one_hot(augment.relabel(hard, params), 4).float()
    torch.testing.assert_close(augment.relabel(nn.functional.one_hot(hard, 4).float(), params), one_hot)


def test_without_labels_no_image_changes():
    augment, batch = augmentor(), images()
    unlabeled = Visit(torch.arange(6), 0, 0)
    for params in (augment.sample(batch, generator()), augment.sample_at(batch, generator(), unlabeled)):
        assert params.target.tolist() == 6 * [NO_TARGET]
        assert torch.equal(augment.apply(batch, params), batch)
    known = Visit(torch.arange(6), 0, 0, torch.ones(6, dtype=torch.int64))
    sampled = augment.sample_at(batch, generator(), known)
    assert torch.equal(sampled.target, augment.sample_for(known.targets, generator()).target)
    assert (sampled.target != NO_TARGET).any()


def test_translations_of_bytes_are_those_of_floats_rounded():
    augment, pixels = augmentor(), (255 * images()).to(torch.uint8)
    params = augment.sample_for(torch.ones(6, dtype=torch.int64), generator())
    found = augment.apply(pixels, params)
    assert torch.equal(found, (255 * augment.apply(pixels / 255, params)).round().byte())
    assert not torch.equal(found, pixels)
    assert augment.apply(images().double(), params).dtype == torch.float64


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (9, 14)])
def test_a_translation_does_not_depend_on_the_other_images(size):
    augment, batch = augmentor(), images(4, *size)
    params = CycleGanParams(torch.tensor([3, 2, 3, 2]), NAMES)
    found = augment.apply(batch, params)
    alone = torch.cat([augment.apply(batch[i : i + 1], params[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(alone, found, atol=1e-5, rtol=0)
    assert found.shape == batch.shape
    assert 0 <= found.min() < found.max() <= 1


def test_a_call_samples_applies_and_relabels():
    augment, batch, targets = augmentor(), images(), torch.tensor([1, 1, 0, 1, 2, 1])
    params = augment.sample_for(targets, generator(3))
    found, labels = augment(batch, targets, generator=generator(3))
    assert torch.equal(found, augment.apply(batch, params))
    assert torch.equal(labels, augment.relabel(targets, params))
    state = torch.get_rng_state()
    augment(batch, targets)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_draw_in_words_names_the_class():
    params = CycleGanParams(torch.tensor([3, NO_TARGET]), NAMES)
    assert [in_words(params, index, (8, 8)) for index in (0, 1)] == ["translated to wolf", "unchanged"]
    assert in_words(params[1:], 0, (8, 8)) == "unchanged"
    assert len(params) == 2


def test_a_saved_translator_draws_the_same_bits(tmp_path):
    augment, batch, targets = augmentor(), images(), torch.tensor([1, 1, 0, 1, 2, 1])
    file = tmp_path / "cyclegan.safetensors"
    augment.write(file)
    again = build_chain(str(file))
    assert isinstance(again, CycleGanAugmentor)
    assert (again.config, again.digest) == (augment.config, augment.digest)
    for found, expected in zip(
        again(batch, targets, generator=generator(1)), augment(batch, targets, generator=generator(1)), strict=True
    ):
        assert torch.equal(found, expected)
    other = augmentor(dataclasses.replace(TWO, probabilities={"wolf": 0.5, "lynx": 0.2}))
    assert other.digest != augment.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "cow"}, "got 'cow' and 'wolf'"),
        ({"probabilities": {"cow": 0.5}}, "different classes of cat, dog, lynx, wolf, got 'dog' and 'cow'"),
        ({"probabilities": {"dog": 0.5}}, "got 'dog' and 'dog'"),
        ({"probabilities": {}}, "got 'dog' and no target"),
        ({"probabilities": {"wolf": -0.1}}, "the probability of class wolf must lie between 0 and 1, got -0.1"),
        ({"probabilities": {"wolf": 0.6, "cat": 0.5}}, "sum of the probabilities must lie between 0 and 1, got 1.1"),
    ],
)
def test_configs_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CycleGanConfig(**{"class_names": NAMES, "reference": "dog", "probabilities": {"wolf": 0.5}, **options})
    assert CycleGanConfig(probabilities={"1": 1.0}).probabilities == {"1": 1.0}


# Chains, batches, and pages.


def test_a_chain_relabels_and_its_later_parts_get_the_new_labels():
    first = augmentor(CycleGanConfig(NAMES, "dog", {"wolf": 1.0}, SMALL))
    second = augmentor(CycleGanConfig(NAMES, "wolf", {"lynx": 1.0}, SMALL))
    chain, batch, targets = Chain([first, second]), images(), torch.tensor([0, 1, 2, 3, 1, 0])
    assert isinstance(chain, RelabelingAugmentation)
    assert not isinstance(chain, MixingAugmentation)
    params = sample_at(chain, batch, generator(), Visit(torch.arange(6), 0, 0, targets))
    assert params[0].target.tolist() == [-1, 3, -1, -1, 3, -1]
    assert params[1].target.tolist() == [-1, 2, -1, 2, 2, -1]
    assert chain.relabel(targets, params).tolist() == [0, 2, 2, 2, 2, 0]
    unlabeled = sample_at(chain, batch, generator(), Visit(torch.arange(6), 0, 0))
    assert all((part.target == NO_TARGET).all() for part in unlabeled)


def test_a_chain_mixes_the_new_labels_and_relabels_mixed_ones(tmp_path):
    augmentor(CycleGanConfig(NAMES, "dog", {"wolf": 1.0}, SMALL)).write(tmp_path / "a.safetensors")
    batch, targets = images(), torch.tensor([0, 1, 2, 3, 1, 0])
    visit = Visit(torch.arange(6), 0, 0, targets)
    new = torch.tensor([0, 3, 2, 3, 3, 0])
    chain = build_chain(f"{tmp_path / 'a.safetensors'}+mixup")
    params = sample_at(chain, batch, generator(), visit)
    expected = Mixup().mix_targets(new, params[1], 4)
    torch.testing.assert_close(chain.mix_targets(targets, params, 4), expected)
    chain = build_chain(f"mixup+{tmp_path / 'a.safetensors'}")
    params = sample_at(chain, batch, generator(), visit)
    found, mixed = chain.mix_targets(targets, params, 4), Mixup().mix_targets(targets, params[0], 4)
    dogs = targets == 1
    assert (found[dogs, 1] == 0).all()
    torch.testing.assert_close(found[dogs, 3], mixed[dogs, 3] + mixed[dogs, 1])
    assert torch.equal(found[~dogs], mixed[~dogs])


def test_training_batches_have_the_new_labels_and_batches_without_labels_do_not_change():
    part = source([0, 1] * 8)
    config = CycleGanConfig(("a", "b", "c"), "b", {"c": 1.0}, SMALL)
    augment, plain = augmentor(config), part.take(np.arange(16))[0]
    order, fabric = [np.arange(8), np.arange(8, 16)], Fabric(accelerator="cpu", devices=1)
    found = list(prepared(part, order, augment, generator(), num_classes=3, fabric=fabric))
    assert [batch.targets.tolist() for batch in found] == 2 * [4 * [0, 2]]
    pixels = torch.cat([batch.inputs for batch in found])
    assert torch.equal(pixels[::2], plain[::2])
    torch.testing.assert_close(pixels[1::2], augment.network[0](plain[1::2]), atol=1e-5, rtol=0)
    options = {"num_classes": 3, "fabric": fabric, "epoch": 0, "seed": 0}
    (hidden,) = target_batches(part, 16, range(1), augment, generator(), **options)
    assert sorted(map(float, hidden.inputs.sum(dim=(1, 2, 3)))) == pytest.approx(
        sorted(map(float, plain.sum((1, 2, 3))))
    )


def gray(*levels, classes, names=NAMES[:3], size=8):
    pixels = np.stack([np.full((size, size, 3), level, dtype=np.uint8) for level in levels])
    zeros, count = np.zeros(len(levels), dtype=np.int64), len(levels)
    given = np.full(count, -1, dtype=np.int8)
    paths = ("",) * count
    return ImageSet("gray", pixels, np.array(classes), zeros, zeros.astype(np.uint64), names, ("gray",), paths, given)


def test_a_page_shows_translations_of_the_reference_and_the_loss_for_the_new_class():
    class Lightness(nn.Module):
        def forward(self, batch):
            bright = 8 * (batch.mean(dim=(1, 2, 3)) - 0.5)
            return torch.stack([bright, -bright, torch.full_like(bright, -9.0)], dim=1)

    augment = augmentor(CycleGanConfig(NAMES[:3], "cat", {"dog": 1.0}, SMALL))
    augment.network[0] = nn.Sequential(nn.Threshold(2.0, 0.1))  # everything becomes dark
    data = gray(255, 0, classes=(0, 1))
    shown = subjects(data, augment, count=2, seed=0)
    words = {subject.caption: {draw.words for draw in subject.draws} for subject in shown}
    assert words == {"cat": {"translated to dog"}, "dog": {"unchanged"}}
    classes = {found.name: found.draws[0] for found in hardest(data, augment, Lightness(), NAMES[:3], seed=0)}
    dark = 1 / (1 + np.exp(-16 * (0.5 - 0.1)))
    assert classes["cat"].right_after == pytest.approx(dark, abs=1e-3)  # of a dog
    assert (classes["cat"].predicted, classes["cat"].words) == ("dog", "translated to dog")
    assert classes["dog"].right_after == classes["dog"].right_before


# Losses and pools.


def test_the_loss_of_the_translators_by_hand():
    a, b = torch.full((4, 3, 2, 2), 0.5), torch.full((2, 3, 2, 2), 0.25)
    loss, (fake_a, fake_b) = pair().translator_loss(a, b, cycle_weight=10.0, identity_weight=5.0)
    assert torch.equal(fake_b, a + 0.25)
    assert torch.equal(fake_a, b - 0.125)
    adversarial = (0.5 * 0.75 - 1) ** 2 + (2 * 0.125 - 1) ** 2
    # Pixels in [-1, 1] differ twice as much as in [0, 1].
    cycle, identity = 2 * 0.125 + 2 * 0.125, 2 * 0.25 + 2 * 0.125
    assert loss.item() == pytest.approx(adversarial + 10 * cycle + 5 * identity, rel=1e-6)


def test_identity_translators_have_no_cycle_and_no_identity_loss():
    found = pair(0.0, 0.0)
    a, b = images(4), images(4, seed=8)
    weighted, _ = found.translator_loss(a, b, cycle_weight=1000.0, identity_weight=1000.0)
    alone, _ = found.translator_loss(a, b, cycle_weight=0.0, identity_weight=0.0)
    assert weighted.item() == alone.item()
    back = pair(0.25, -0.25)  # inverse to each other, and not the identity
    cycle, _ = back.translator_loss(a, b, cycle_weight=1000.0, identity_weight=0.0)
    none, _ = back.translator_loss(a, b, cycle_weight=0.0, identity_weight=0.0)
    assert cycle.item() == pytest.approx(none.item(), abs=1e-3)
    identity, _ = back.translator_loss(a, b, cycle_weight=0.0, identity_weight=1.0)
    assert identity.item() - none.item() == pytest.approx(4 * 0.25, rel=1e-5)


def test_the_loss_of_the_discriminators_by_hand():
    a, b = torch.full((4, 3, 2, 2), 0.5), torch.full((4, 3, 2, 2), 0.25)
    fakes = torch.full((4, 3, 2, 2), 1.0), torch.full((4, 3, 2, 2), 0.75)
    loss = pair().discriminator_loss(a, b, fakes, generator())
    expected = ((2 * 0.5 - 1) ** 2 + (2 * 1.0) ** 2 + (0.5 * 0.25 - 1) ** 2 + (0.5 * 0.75) ** 2) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_gradients_of_the_losses_by_hand():
    a, b = torch.full((4, 3, 2, 2), 0.5), torch.full((4, 3, 2, 2), 0.25)
    found = pair()
    loss, fakes = found.translator_loss(a, b, cycle_weight=10.0, identity_weight=5.0)
    loss.backward()
    # Of (0.5 (0.5 + s) - 1)^2, of both cycles 2 * 10 |s + t|, and of 2 * 5 |s|, for shifts of s = 0.25 and t = -0.125.
    assert found.to_b.shift.grad.item() == pytest.approx(2 * (0.5 * 0.75 - 1) * 0.5 + 2 * 20 + 10, rel=1e-6)
    assert found.to_a.shift.grad.item() == pytest.approx(2 * (2 * 0.125 - 1) * 2 + 2 * 20 - 10, rel=1e-6)
    found.zero_grad()
    found.discriminator_loss(a, b, fakes, generator()).backward()
    # Of ((0.25 f - 1)^2 + (0.75 f)^2) / 2 for a factor of f = 0.5.
    assert found.discriminator_b.factor.grad.item() == pytest.approx((0.125 - 1) * 0.25 + 0.375 * 0.75, rel=1e-6)
    assert found.discriminator_a.factor.grad.item() == pytest.approx((2 * 0.5 - 1) * 0.5 + 2 * 0.125 * 0.125, rel=1e-6)
    assert found.to_b.shift.grad is None
    assert found.to_a.shift.grad is None


def game(settings=None, labels=(0, 0, 0, 0, 1, 2), size=8):
    torch.manual_seed(0)
    settings = settings or CycleGanSettings(network=SMALL, learning_rate=0.01)
    return CycleGanGame.create(settings, classifier(size), source(labels, size), ("a", "b", "c"))


def test_a_step_of_the_game_by_hand():
    found = game()
    old = copy.deepcopy(found)
    references, others = images(4, 8, 8), images(8, 8, 8, seed=8).unflatten(0, (2, 4))
    found.step(references, others, generator())
    translators = discriminators = 0
    for each, real in zip(old.pairs, others, strict=True):
        fake_b, fake_a = each.to_b(references), each.to_a(real)
        translators = translators + (each.discriminator_b(fake_b) - 1).square().mean()
        translators = translators + (each.discriminator_a(fake_a) - 1).square().mean()
        translators = translators + 10 * 2 * (each.to_a(fake_b) - references).abs().mean()
        translators = translators + 10 * 2 * (each.to_b(fake_a) - real).abs().mean()
        translators = translators + 5 * 2 * (each.to_b(real) - real).abs().mean()
        translators = translators + 5 * 2 * (each.to_a(references) - references).abs().mean()
        for discriminator, here, fake in (
            (each.discriminator_a, references, fake_a),
            (each.discriminator_b, real, fake_b),
        ):
            squares = (discriminator(here) - 1).square().mean() + discriminator(fake.detach()).square().mean()
            discriminators = discriminators + squares / 2
    for name, loss in (("translators", translators), ("discriminators", discriminators)):
        (group,), (before,) = found.optimizers[name].param_groups, old.optimizers[name].param_groups
        assert (type(found.optimizers[name]), group["lr"], group["betas"]) == (torch.optim.Adam, 0.01, (0.5, 0.999))
        parameters = [parameter for each in old.pairs for parameter in getattr(each, name)]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        assert len(gradients) == len(group["params"]) == len(before["params"])
        for parameter, gradient in zip(group["params"], gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)


def test_each_optimizer_moves_its_own_networks_and_the_classifier_stays():
    found = game()
    references, others = images(4, 8, 8), images(8, 8, 8, seed=8).unflatten(0, (2, 4))
    kinds = {"to": "translators", "discriminator": "discriminators", "pool": "pools"}

    def moved(names):
        before = {name: tensor.clone() for name, tensor in found.state_dict().items()}
        move, found.move = found.move, lambda name, loss: move(name, loss) if name in names else None
        found.step(references, others, generator())
        found.move = move
        after = found.state_dict()
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert not any(name.startswith("classifier") for name in changed)
        return {(name.split(".")[1], kinds[name.split(".")[2].split("_")[0]]) for name in changed}

    assert moved(()) == {("0", "pools"), ("1", "pools")}
    found.pairs[0].pool_a.size = found.pairs[0].pool_b.size = 0
    found.pairs[1].pool_a.size = found.pairs[1].pool_b.size = 0
    assert moved(("translators",)) == {("0", "translators"), ("1", "translators")}
    assert moved(("discriminators",)) == {("0", "discriminators"), ("1", "discriminators")}
    assert all(parameter.grad is None for parameter in found.classifier.parameters())


def test_a_pool_stores_then_exchanges_half():
    pool, noise, check = ImagePool(5), generator(2), generator(2)
    stored, swapped = [], 0
    for step in range(40):
        batch = torch.arange(4 * step, 4 * step + 4).float().view(4, 1, 1, 1)
        expected = []
        for value in range(4 * step, 4 * step + 4):
            if len(stored) < 5:
                stored.append(value)
                expected.append(value)
            elif torch.rand((), generator=check) < 0.5:
                place = int(torch.randint(5, (), generator=check))
                expected.append(stored[place])
                stored[place] = value
                swapped += 1
            else:
                expected.append(value)
        assert pool.exchange(batch, noise).flatten().tolist() == expected
        assert pool.images.flatten().tolist() == stored
        assert len(set(expected)) == 4
    assert 50 < swapped < 105  # of 155


def test_an_empty_pool_returns_the_latest_images_and_draws_nothing():
    pool, noise, batch = ImagePool(0), generator(), images()
    assert pool.exchange(batch, noise) is batch
    assert torch.equal(noise.get_state(), generator().get_state())


def test_the_images_of_a_pool_are_in_its_state():
    pool, again = ImagePool(5), ImagePool(5)
    pool.exchange(images(4), generator())
    again.load_state_dict(pool.state_dict())
    first, second = (each.exchange(images(4, seed=9), generator(1)) for each in (pool, again))
    assert torch.equal(first, second)
    assert torch.equal(pool.images, again.images)


# Classes and probabilities.


def test_probabilities_make_the_expected_numbers_equal():
    found = target_probabilities(2000, np.array([50, 350]))
    level = (2000 + 50 + 350) / 3
    assert found == pytest.approx([(level - 50) / 2000, (level - 350) / 2000])
    assert 2000 * (1 - sum(found)) == pytest.approx(50 + 2000 * found[0]) == pytest.approx(350 + 2000 * found[1])


def test_a_target_that_is_above_the_level_gets_nothing():
    found = target_probabilities(100, np.array([5, 90, 0]))
    assert found == pytest.approx([0.3, 0.0, 0.35])  # 35 images of each but the second


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, [0.0, 0.0]), (0.05, [0.05, 0.0]), (0.4, [0.35, 0.05]), (1.0, [0.65, 0.35])]
)
def test_a_given_probability_goes_to_the_rarest_first(probability, expected):
    assert target_probabilities(100, np.array([10, 40]), probability) == pytest.approx(expected)
    assert CycleGanConfig(NAMES, "cat", dict(zip(NAMES[1:3], expected, strict=True)))


@pytest.mark.parametrize(
    ("options", "reference", "targets"),
    [
        ({}, "cat", ["lynx", "wolf"]),  # dogs are more than half as many, and there are no foxes
        ({"targets": "dog"}, "cat", ["dog"]),
        ({"targets": "wolf,dog,wolf"}, "cat", ["wolf", "dog"]),
        ({"reference": "dog"}, "dog", ["wolf"]),
        ({"reference": "wolf", "targets": "cat"}, "wolf", ["cat"]),
    ],
)
def test_the_classes_of_a_translation(options, reference, targets):
    labels = [4] * 3 + [0] * 10 + [1] * 6 + [2] * 4 + [3] * 2
    train = Subset(np.zeros((25, 8, 8, 3), dtype=np.uint8), np.array(labels), np.arange(3, 25))
    config = choose_classes(CycleGanSettings(**options), train, (*NAMES, "fox"))
    assert (config.reference, list(config.probabilities)) == (reference, targets)
    assert config.class_names == (*NAMES, "fox")
    counts = dict(zip(NAMES, (10, 6, 4, 2), strict=True))
    expected = target_probabilities(counts[reference], np.array([counts[name] for name in targets]))
    assert list(config.probabilities.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "lion"}, "unknown class of the translation: 'lion'"),
        ({"targets": "dgo"}, "unknown class of the translation: 'dgo'; did you mean 'dog'"),
        ({"targets": "cat"}, "class 'cat' is the reference of the translation and one of its targets"),
        ({"targets": "fox"}, "class 'fox' has no training images"),
        ({}, r"no class has fewer than half as many training images as 'cat' \(4\).*name one with the setting targets"),
    ],
)
def test_classes_that_do_not_fit_are_refused(options, message):
    train = source([0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3])
    with pytest.raises(InputError, match=message):
        CycleGanGame.check(CycleGanSettings(**options), train, (*NAMES, "fox"))


def test_images_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="a translation needs images of 8 px or more, got 7 x 7 px"):
        CycleGanGame.check(CycleGanSettings(targets="1"), source([0, 0, 0, 1], size=7), ("0", "1"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": 3}, "reference must be the name of a class, in quotes if it is a number, got 3"),
        ({"targets": 3}, "targets must be names of classes joined by commas"),
        ({"probability": 1.5}, "probability must lie between 0 and 1"),
        ({"pool": -1}, "pool must be a whole number between 0 and 100000"),
        ({"cycle_weight": -1.0}, "cycle_weight must lie between 0 and 1000"),
        ({"epochs": 0}, "epochs must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CycleGanSettings(**options)


# Training.


def test_examples_are_each_image_of_the_reference_and_random_ones_of_each_target():
    labels = [0, 1, 0, 2, 0, 2, 0, 0, 1]
    whole = source(labels)
    train = dataclasses.replace(whole, indices=np.array([8, 2, 3, 4, 5, 6, 7]))
    found = CycleGanGame.create(CycleGanSettings(network=SMALL, targets="b,c"), classifier(), train, ("a", "b", "c"))
    examples = found.examples(train)
    assert examples.count == 4
    references, others = examples.take(np.arange(4), generator())
    torch.testing.assert_close(references, whole.take(np.array([2, 4, 6, 7]))[0])
    assert others.shape == (2, 4, 3, 8, 8)
    assert torch.equal(others[0], whole.take(np.array([8] * 4))[0])
    options = whole.take(np.array([3, 5]))[0]
    noise, seen = generator(), set()
    for _ in range(10):
        _, drawn = examples.take(np.arange(4), noise)
        seen |= {tuple((image == options).flatten(1).all(dim=1).tolist()) for image in drawn[1]}
    assert seen == {(True, False), (False, True)}


def test_measures_of_known_translators():
    found = game()
    for each, shift in zip(found.pairs, (0.25, 0.125), strict=True):
        each.to_b, each.to_a = Shift(shift), Shift(-0.0625)
    with torch.no_grad():
        found.classifier[1].weight.fill_(0.0)
        found.classifier[1].bias.copy_(torch.tensor([0.0, 0.0, -80.0]))
        batch = images(5, 8, 8)
        measures = measure_translations(found, [(batch, torch.zeros(5, dtype=torch.int64))], generator())
        bias, measured = torch.tensor([0.0, 1.0, 0.0]), {}
        found.classifier[1].bias.copy_(bias)
        measured = measure_translations(found, [(batch, torch.zeros(5, dtype=torch.int64))], generator())
    assert measures == pytest.approx(
        {
            "distance": (0.25 + 0.125) / 2,
            "cycle": (0.1875 + 0.0625) / 2,
            "entropy_before": 1.0,
            "entropy_after": 1.0,
            "recognized_before": 1.0,
            "recognized_after": 0.0,
        },
        abs=1e-5,
    )
    assert measured["recognized_after"] == 0.5  # b is seen in everything: right for one of two targets
    assert measured["recognized_before"] == 0.0


@pytest.mark.parametrize(
    ("distance", "weight", "help"), [(0.01, 5.0, None), (0.0099, 5.0, "smaller"), (0.0, 0.0, "more")]
)
def test_translators_that_change_nothing_are_named(distance, weight, help):
    settings = dataclasses.asdict(CycleGanSettings(identity_weight=weight))
    found = diagnose_cyclegan({"distance": distance}, settings)
    assert list(found) == ([] if help is None else ["identity"])
    assert help is None or help in found["identity"]


def learn(file, labels=(0,) * 12 + (1,) * 3 + (2,) * 2, **settings):
    settings = {"epochs": 2, "epoch_steps": 3, "batch_size": 4, "pool": 6, "network": SMALL, **settings}
    return learn_cyclegan(
        classifier(),
        source(list(labels)),
        {"validation": source([0, 1, 2, 0]), "test": source([1, 2])},
        CycleGanSettings(**settings),
        seed=3,
        checkpoint_file=file,
        fabric=Fabric(accelerator="cpu"),
        class_names=("a", "b", "c"),
    )


@pytest.mark.parametrize("last", [1, 4, 5])
def test_learning_that_was_interrupted_ends_with_the_same_weights_and_measures(tmp_path, monkeypatch, last):
    whole = learn(tmp_path / "whole.safetensors")
    assert len(whole.epochs) == 3
    assert set(whole.epochs[0]) == {"train", "validation"}  # no image of the reference in the third part
    assert (whole.settings.reference, whole.settings.targets) == ("a", "b,c")
    ends_the_same(learn, whole, CycleGanGame, tmp_path, monkeypatch, last)


def test_a_report_has_a_curve_of_the_cycle():
    measures = {"distance": 0.2, "cycle": 0.3, "recognized_before": 1.0, "recognized_after": 0.5}
    curves = measure_curves([{"validation": measures}, {"validation": measures | {"cycle": 0.1}}])
    assert "difference after translation and back" in curves


def test_few_images_are_passed_over_until_an_epoch_has_its_steps():
    assert CycleGanGame.passes(CycleGanSettings(epoch_steps=100), 3) == 34
    assert CycleGanGame.passes(CycleGanSettings(epoch_steps=100), 100) == 1


def test_learning_leaves_the_global_random_numbers_alone_and_names_classes_by_their_index(tmp_path):
    expected = torch.get_rng_state()
    settings = CycleGanSettings(epochs=1, epoch_steps=1, batch_size=4, network=SMALL)
    options = {"seed": 0, "checkpoint_file": tmp_path / "a", "fabric": Fabric(accelerator="cpu")}
    model = classifier()
    torch.set_rng_state(expected)
    learned = learn_cyclegan(model, source([0] * 5 + [1] * 2 + [2] * 3), {}, settings, **options)
    assert torch.equal(torch.get_rng_state(), expected)
    config = learned.augmentor.config
    assert (config.class_names, config.reference, list(config.probabilities)) == (("0", "1", "2"), "0", ["1"])


def squares(counts, seed):
    """Squares on gray, red in the first class and blue in the second; the images and the masks of the squares."""
    rng = np.random.default_rng(seed)
    labels = np.repeat((0, 1), counts)
    pixels = np.repeat(rng.integers(90, 166, (len(labels), 1, 1, 1)), 3, axis=3) * np.ones((1, 16, 16, 1))
    masks = np.zeros((len(labels), 16, 16), dtype=bool)
    for image, mask, label in zip(pixels, masks, labels, strict=True):
        side = rng.integers(5, 10)
        top, left = rng.integers(0, 16 - side, 2)
        mask[top : top + side, left : left + side] = True
        image[mask] = 30
        image[mask, 2 * label] = rng.integers(180, 256)
    return Subset(pixels.astype(np.uint8), labels, np.arange(len(labels))), masks


def test_red_squares_become_blue_where_they_are(tmp_path):
    train, _ = squares((60, 20), 0)
    unseen, masks = squares((30, 0), 1)
    settings = CycleGanSettings(
        epochs=1, epoch_steps=80, batch_size=8, learning_rate=2e-3, network=TranslatorConfig(8, 1)
    )
    options = {"seed": 0, "checkpoint_file": tmp_path / "a", "fabric": Fabric(accelerator="cpu")}
    augment = learn_cyclegan(classifier(16, 2), train, {}, settings, **options).augmentor
    batch, labels = unseen.take(np.arange(30))
    always = CycleGanParams(torch.ones(30, dtype=torch.int64), ("0", "1"))
    found = augment.apply(batch, always)
    inside = torch.from_numpy(masks)
    blue = [(each[:, 2] - each[:, 0]).unflatten(0, (1, 30)) for each in (batch, found)]
    before, after = ((each[0] * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)) for each in blue)
    assert before.max() < -0.5  # red
    assert after.min() > 0.2  # blue
    around = (blue[1][0] * ~inside).sum(dim=(1, 2)) / (~inside).sum(dim=(1, 2))
    assert around.abs().max() < 0.15  # gray
    assert augment.relabel(labels, always).tolist() == 30 * [1]


# The command.


def rare(root):
    """Photos with four cats instead of twelve in each domain."""
    write_photos(root)
    for file in root.glob("*/cat/*.png"):
        if int(file.stem) >= 4:
            file.unlink()
    return root


BRIEF = tuple(
    f"augment_options.{each}" for each in ("epochs=1", "epoch_steps=2", "network.width=4", "network.blocks=1")
)


def test_the_command_learns_it_in_each_run_and_records_its_classes(afield, tmp_path):
    out, photos = tmp_path / "out", rare(tmp_path / "photos")
    arguments = ("--data", photos, "--image-size", 16, "--recipes", "erm", "--epochs", 2, "--seeds", 1, "--out", out)
    options = ("--augment", "cyclegan+crop", "--set", *BRIEF, "augment_options.reference=dog")
    code, _, err = afield("compare", *arguments, *options)
    assert code == 0, err
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        learned = record["learned"]
        assert learned["kind"] == "cyclegan"
        assert (learned["settings"]["reference"], learned["settings"]["targets"]) == ("dog", "cat")
        assert learned["settings"]["network"] == {"width": 4, "blocks": 1}
        assert set(learned["epochs"][1]["validation"]) >= {"distance", "cycle", "recognized_after"}
    saved = next(out.glob("runs/*/augmentor.safetensors"))
    config = build_chain(str(saved)).config
    assert (config.class_names, config.reference) == (("cat", "dog", "owl"), "dog")
    (out / "other").mkdir()

    code, _, err = afield("compare", *arguments[:-1], out / "other", "--augment", saved)
    assert code == 0, err
    code, _, err = afield("augment", "show", saved, "--data", "colored_digits", "--out", tmp_path / "a.html")
    assert code == 2
    assert "was learned for the classes cat, dog, owl; the classes of the data are 0, 1, 2" in err
    code, _, err = afield("compare", "--data", "colored_digits", "--recipes", "erm", "--augment", saved)
    assert code == 2
    assert "was learned for the classes cat, dog, owl" in err


def test_classes_of_equal_size_are_refused_before_training(afield, photos, tmp_path):
    arguments = ("--data", photos, "--image-size", 16, "--recipe", "erm", "--epochs", 2, "--out", tmp_path / "out")
    code, _, err = afield("train", *arguments, "--augment", "cyclegan")
    assert code == 2
    assert "no class has fewer than half as many training images as '" in err
    assert not list(tmp_path.glob("out/**/*.safetensors"))
    classes = ("augment_options.reference=cat", "augment_options.targets=owl")
    code, _, err = afield("train", *arguments, "--augment", "cyclegan", "--set", *BRIEF, *classes)
    assert code == 0, err
    learned = read_json(tmp_path / "out" / "record.json")["learned"]
    assert (learned["settings"]["reference"], learned["settings"]["targets"]) == ("cat", "owl")
