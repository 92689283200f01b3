"""Policies: which operations at which magnitudes, how often, and that a draw can be repeated."""

import pytest
import torch
from torchvision.transforms import v2

from afield.augment import (
    AugMix,
    AutoAugment,
    ColorJitter,
    Draws,
    RandAugment,
    TrivialAugmentWide,
    apply_draws,
    operate,
)
from afield.augment.policies.autoaugment import published
from afield.augment.policies.magnitudes import SIGNED, WIDE_KINDS, magnitudes
from afield.augment.policies.operations import NAMES, kind

MANY = torch.zeros(14_000, 3, 40, 24, dtype=torch.uint8)
WITHOUT = ("identity", "autocontrast", "equalize", "invert")
POLICIES = [TrivialAugmentWide(), RandAugment(), *map(AutoAugment, ("cifar10", "imagenet", "svhn")), AugMix()]
POLICIES += [ColorJitter(0.4, 0.4, 0.4, 0.1)]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(256, (64, 3, 20, 31), generator=generator(), dtype=torch.uint8)


def in_torchvision(name):
    return {"autocontrast": "AutoContrast"}.get(name, "".join(part.capitalize() for part in name.split("_")))


@pytest.mark.parametrize(
    ("theirs", "bins", "ours"),
    [
        (
            v2.TrivialAugmentWide,
            31,
            {"shear": 0.99, "translate": (32, 32), "rotate": 135, "factor": 0.99, "bits": (8, 6)},
        ),
        (v2.RandAugment, 31, {"shear": 0.3, "translate": None, "rotate": 30, "factor": 0.9, "bits": (8, 4)}),
        (v2.AutoAugment, 10, {"shear": 0.3, "translate": None, "rotate": 30, "factor": 0.9, "bits": (8, 4)}),
        (v2.AugMix, 10, {"shear": 0.3, "translate": (8.0, 40 / 3), "rotate": 30, "factor": 0.9, "bits": (4, 4)}),
    ],
)
def test_magnitudes_are_those_of_torchvision(theirs, bins, ours):
    reach = ours["translate"] or (150 / 331 * 24, 150 / 331 * 40)
    space = magnitudes(bins, **{**ours, "translate": reach})
    for name in NAMES:
        values, signed = theirs._AUGMENTATION_SPACE.get(in_torchvision(name), (lambda *size: None, name in SIGNED))
        expected = values(bins, 40, 24)
        assert torch.equal(space[kind(name)], torch.zeros(bins) if expected is None else expected.double()), name
        assert signed == (name in SIGNED)


@every_policy
def test_equal_generators_give_equal_images_and_other_seeds_others(policy, images):
    first, again, other = (policy(images, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_policy
def test_calling_is_sampling_and_applying(policy, images):
    assert torch.equal(
        policy(images, generator=generator(3)), policy.apply(images, policy.sample(images, generator(3)))
    )


@every_policy
def test_without_a_generator_each_call_is_another_and_global_numbers_stay(policy, images):
    before = torch.get_rng_state()
    assert not torch.equal(policy(images), policy(images))
    assert torch.equal(torch.get_rng_state(), before)


@every_policy
def test_a_draw_of_some_images_shows_them_again(policy, images):
    params = policy.sample(images, generator(4))
    assert len(params) == 64
    assert torch.equal(policy.apply(images[5:8], params[5:8]), policy.apply(images, params)[5:8])


@every_policy
def test_bytes_and_their_float_images_are_augmented_alike(policy, images):
    params = policy.sample(images, generator(5))
    found = policy.apply(images.float().div(255), params)
    cut = 1.01 / 255 if isinstance(policy, AugMix) else 1e-6  # the mixture of float images is not cut to whole numbers
    torch.testing.assert_close(found, policy.apply(images, params).float().div(255), atol=cut, rtol=0)


@pytest.mark.parametrize(("policy", "steps"), [(TrivialAugmentWide(), 1), (RandAugment(), 2), (RandAugment(3), 3)])
def test_fourteen_operations_come_equally_often(policy, steps):
    kinds = policy.sample(MANY, generator()).kind
    assert kinds.shape == (14_000, steps)
    counts = torch.bincount(kinds.flatten(), minlength=len(NAMES))
    for name in NAMES:
        expected = 1000 * steps if name in WIDE_KINDS else 0
        assert counts[kind(name)].item() == pytest.approx(expected, abs=5 * expected**0.5), name


def test_trivialaugment_draws_every_bin_of_both_signs_equally_often():
    params = TrivialAugmentWide().sample(MANY.repeat(8, 1, 1, 1), generator())
    space = magnitudes(31, shear=0.99, translate=(32, 32), rotate=135, factor=0.99, bits=(8, 6))
    for name in WIDE_KINDS:
        found = params.magnitude[params.kind == kind(name)]
        bins = space[kind(name)]
        expected = torch.cat([bins, -bins]).unique() if name in SIGNED else bins.unique()
        assert torch.equal(found.abs().unique() if name in SIGNED else found.unique(), bins.unique())
        assert torch.equal(found.unique(), expected)
        if name in SIGNED:
            assert (found < 0).double().mean().item() == pytest.approx(15 / 31, abs=0.03)
            assert found.abs().mean().item() == pytest.approx(bins.mean().item(), rel=0.05)


def test_randaugment_draws_one_magnitude_of_both_signs():
    params = RandAugment(magnitude=12).sample(MANY, generator())
    bins = magnitudes(31, shear=0.3, translate=(150 / 331 * 24, 150 / 331 * 40), rotate=30, factor=0.9, bits=(8, 4))[
        :, 12
    ]
    for name in WIDE_KINDS:
        value = bins[kind(name)].item()
        assert set(params.magnitude[params.kind == kind(name)].tolist()) == (
            {value, -value} if name in SIGNED else {value}
        )


@pytest.mark.parametrize("policy", ["cifar10", "imagenet", "svhn"])
def test_the_pairs_of_autoaugment_are_the_published_ones(policy):
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies
    kinds, probability, level = published(policy).table
    for row, pair in enumerate(theirs):
        for step, (name, chance, place) in enumerate(pair):
            assert in_torchvision(NAMES[kinds[row, step]]) == name
            assert probability[row, step].item() == pytest.approx(chance)
            assert level[row, step] == (place or 0)
    assert kinds.shape == (len(theirs), 2) == (25, 2)


@pytest.mark.parametrize(
    ("policy", "first", "last"),
    [
        ("cifar10", "invert 0.1, contrast 0.2 6", "translate_y 0.7 9, autocontrast 0.9"),
        ("imagenet", "posterize 0.4 8, rotate 0.6 9", "equalize 0.8, equalize 0.6"),
        ("svhn", "shear_x 0.9 4, invert 0.2", "shear_x 0.7 2, invert 0.1"),
    ],
)
def test_the_first_and_the_last_pair_are_those_of_the_paper(policy, first, last):
    lines = published(policy).lines
    assert (lines[0], lines[-1]) == (first, last)


@pytest.mark.parametrize("policy", ["cifar10", "imagenet", "svhn"])
def test_autoaugment_draws_each_pair_equally_often_and_each_operation_with_its_probability(policy):
    params = AutoAugment(policy).sample(MANY.repeat(4, 1, 1, 1), generator())
    kinds, probability, _ = published(policy).table
    for step in range(2):
        found = torch.bincount(params.kind[:, step], minlength=len(NAMES)) / len(params)
        expected = torch.zeros(len(NAMES)).scatter_add_(0, kinds[:, step], probability[:, step] / 25)
        expected[0] = 1 - expected[1:].sum()
        torch.testing.assert_close(found, expected, atol=0.008, rtol=0)


def test_autoaugment_leaves_a_magnitude_of_zero_where_nothing_happens():
    params = AutoAugment("cifar10").sample(MANY, generator())
    assert (params.magnitude[params.kind == 0] == 0).all()
    together = {tuple(row) for row in params.kind.tolist()}
    allowed = {
        (a, b) for first, second in published("cifar10").table[0].tolist() for a in (0, first) for b in (0, second)
    }
    assert together <= allowed


def test_augmix_shares_sum_to_one_and_chains_have_one_to_three_operations():
    params = AugMix().sample(MANY, generator())
    assert params.share.shape == (14_000, 4)
    torch.testing.assert_close(params.share.sum(1), torch.ones(14_000))
    assert params.share[:, 0].mean().item() == pytest.approx(0.5, abs=0.02)  # Beta(1, 1)
    depth = torch.stack([(params.chain(index).kind != 0).sum(1) for index in range(3)])
    assert torch.bincount(depth.flatten()).div(42_000).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.02)
    assert params.magnitude[params.kind == kind("rotate")].abs().unique().tolist() == pytest.approx([0, 10 / 3, 20 / 3])
    assert {NAMES[place] for place in params.kind.unique()} == set(WIDE_KINDS)


def test_augmix_of_chains_that_do_nothing_is_the_identity(images):
    params = AugMix().sample(images, generator())
    still = type(params)(params.share, torch.zeros_like(params.kind), params.magnitude)
    torch.testing.assert_close(AugMix().apply(images.float().div(255), still), images.float().div(255))


def test_augmix_is_the_weighted_sum_of_its_chains(images):
    params = AugMix().sample(images, generator())
    parts = [images, *(apply_draws(images, params.chain(index), "bilinear") for index in range(3))]
    expected = sum(share[:, None, None, None] * part for share, part in zip(params.share.T, parts, strict=True))
    assert torch.equal(AugMix().apply(images, params), expected.clamp(0, 255).to(torch.uint8))


def test_color_jitter_draws_an_order_and_factors_for_each_image(images):
    params = ColorJitter(0.4, 0.2, 0.3, 0.1).sample(MANY, generator())
    assert len({tuple(row) for row in params.kind.tolist()}) == 24
    for name, reach in (("brightness", 0.4), ("contrast", 0.2), ("color", 0.3), ("hue", 0.1)):
        found = params.magnitude[params.kind == kind(name)]
        assert len(found) == 14_000
        assert found.min().item() == pytest.approx(-reach, abs=0.01)
        assert found.max().item() == pytest.approx(reach, abs=0.01)
    assert torch.equal(ColorJitter()(images), images)


def test_policies_apply_what_they_draw(images):
    params = RandAugment().sample(images, generator())
    for image, kinds, strengths, found in zip(
        images, params.kind, params.magnitude, RandAugment().apply(images, params), strict=True
    ):
        for place, strength in zip(kinds, strengths, strict=True):
            image = operate(NAMES[place], image[None], strength)[0]
        assert torch.equal(image, found)


def test_strength_zero_of_randaugment_is_the_identity_but_for_what_has_no_strength(images):
    images = images.clamp(max=254)  # solarize inverts white at its lowest, in torchvision too
    params = RandAugment(magnitude=0).sample(images, generator())
    plain = ~torch.isin(params.kind, torch.tensor([kind(name) for name in WITHOUT[1:]])).any(1)
    assert plain.sum() > 20
    assert torch.equal(RandAugment().apply(images, params)[plain], images[plain])


@pytest.mark.parametrize("wrong", [{"num_ops": -1}, {"magnitude": 31}, {"magnitude": -1}])
def test_randaugment_refuses_what_it_cannot_draw(wrong):
    with pytest.raises(ValueError, match="RandAugment needs num_ops >= 0"):
        RandAugment(**wrong)


def test_autoaugment_and_augmix_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="policy must be one of cifar10, imagenet, svhn, got 'cifar'"):
        AutoAugment("cifar")
    with pytest.raises(ValueError, match="severity must be a whole number between 1 and 10, got 11"):
        AugMix(severity=11)


def test_params_are_indexed_like_tensors():
    draws = Draws(torch.arange(12).view(6, 2), torch.zeros(6, 2))
    assert torch.equal(draws[torch.tensor([4, 1])].kind, torch.tensor([[8, 9], [2, 3]]))
    assert len(draws[2:5]) == 3
