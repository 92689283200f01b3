"""Mixup and CutMix, cutout and random erasing, crops of bytes, and augmentations one after another."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from afield.augment import (
    AUGMENTATIONS,
    CutMix,
    Cutout,
    MixingAugmentation,
    Mixup,
    RandomErasing,
    RandomResizedCrop,
    TrivialAugmentWide,
    build_chain,
    takes_bytes,
)
from afield.augment.boxes import Boxes
from afield.augment.mixing import CutPairs, Pairs
from afield.augment.spatial.crop import CropBoxes
from afield.errors import InputError
from afield.losses import CrossEntropy

MANY = torch.zeros(6000, 3, 20, 30, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(8, 3, 12, 16, generator=generator())


@pytest.fixture
def targets():
    return torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def test_mixup_is_that_of_torchvision_where_all_share_alike(images, targets):
    theirs = v2.MixUp(num_classes=4)
    params = Pairs(torch.arange(8).roll(1), torch.full((8,), 0.3))
    expected = theirs.transform(images, {"lam": 0.3, "batch_size": 8, "labels": targets})
    torch.testing.assert_close(Mixup().apply(images, params), expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(Mixup().mix_targets(targets, params, 4), theirs._mixup_label(targets, lam=0.3))


def test_cutmix_is_that_of_torchvision_where_all_share_alike(images, targets):
    theirs = v2.CutMix(num_classes=4)
    box, lam = (3, 2, 9, 10), 1 - 6 * 8 / (12 * 16)
    expected = theirs.transform(images, {"box": box, "lam_adjusted": lam, "batch_size": 8, "labels": targets})
    left, top, right, bottom = (torch.full((8,), edge) for edge in box)
    params = CutPairs(torch.arange(8).roll(1), torch.full((8,), lam), top, bottom, left, right)
    assert torch.equal(CutMix().apply(images, params), expected)
    torch.testing.assert_close(CutMix().mix_targets(targets, params, 4), theirs._mixup_label(targets, lam=lam))


@pytest.mark.parametrize("mixing", [Mixup(), CutMix(), Mixup(1.0)], ids=repr)
def test_images_and_targets_are_mixed_by_the_same_shares(mixing, targets):
    shown = torch.arange(8.0).div(8)[:, None, None, None].expand(8, 3, 40, 40)  # each image is its own gray
    params = mixing.sample(shown, generator(2))
    found = mixing.apply(shown, params).mean(dim=(1, 2, 3))
    expected = mixing.mix_targets(torch.arange(8), params, 8) @ torch.arange(8.0).div(8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mixing", [Mixup(), CutMix()], ids=repr)
def test_calling_gives_images_and_soft_targets_that_losses_take(mixing, images, targets):
    first, second = (mixing(images, targets, 4, generator=generator(1)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[0].shape == images.shape
    torch.testing.assert_close(first[1].sum(1), torch.ones(8))
    CrossEntropy()(torch.randn(8, 4), first[1])


@pytest.mark.parametrize("mixing", [Mixup(), CutMix()], ids=repr)
def test_bytes_stay_bytes_and_probabilities_can_be_mixed_again(mixing, images, targets):
    whole = images.mul(255).to(torch.uint8)
    found, soft = mixing(whole, targets, 4, generator=generator(1))
    again, softer = mixing(found, soft, 4, generator=generator(2))
    assert found.dtype == again.dtype == torch.uint8
    torch.testing.assert_close(softer.sum(1), torch.ones(8))


def test_shares_come_from_their_distribution():
    for alpha in (0.2, 1.0):
        share = Mixup(alpha).sample(MANY, generator()).share
        assert share.mean().item() == pytest.approx(0.5, abs=0.02)
        assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    params = Mixup().sample(MANY, generator())
    assert torch.equal(params.partner.sort().values, torch.arange(6000))


def test_cutmix_shares_are_those_of_the_pixels_left():
    params = CutMix().sample(MANY, generator())
    shown = CutMix().apply(torch.zeros(6000, 1, 20, 30), params)
    assert shown.sum() == 0
    torch.testing.assert_close(1 - params.mask(MANY).float().mean(dim=(1, 2, 3)), params.share)
    assert 0.55 < params.share.mean().item() < 0.75  # half on average, before the box is cut at the edges


def test_cutout_paints_a_square_cut_at_the_edges():
    params = Cutout().sample(MANY, generator())
    assert set((params.bottom - params.top).tolist()) == set(range(5, 11))
    assert set((params.right - params.left).tolist()) == set(range(5, 11))
    found = Cutout(fill=1.0).apply(MANY, params)
    assert torch.equal(found[:, :1] == 255, params.mask(MANY))
    assert torch.equal((found[:, 0] == 255).sum((1, 2)), params.area)


def test_cutout_of_size_zero_is_the_identity(images):
    assert torch.equal(Cutout(size=0)(images), images)


def test_random_erasing_is_that_of_torchvision(images):
    params = Boxes(*(torch.tensor([edge] * 8) for edge in (2, 7, 3, 11)))
    expected = tv.erase(images, 2, 3, 5, 8, torch.tensor(0.5))
    assert torch.equal(RandomErasing(fill=0.5).apply(images, params), expected)


def test_random_erasing_has_areas_and_shapes_in_range_inside_the_image():
    params = RandomErasing().sample(MANY, generator())
    erased = params.area > 0
    assert erased.float().mean().item() == pytest.approx(0.5, abs=0.03)
    tall, wide = (params.bottom - params.top)[erased], (params.right - params.left)[erased]
    assert params.top.min() >= 0
    assert params.left.min() >= 0
    assert params.bottom.max() <= 20
    assert params.right.max() <= 30
    assert (tall - 0.5).mul(wide - 0.5).min() <= 0.33 * 600
    assert (tall + 0.5).div(wide - 0.5).min() >= 0.3
    assert (tall - 0.5).div(wide + 0.5).max() <= 3.3
    assert torch.equal(RandomErasing(p=0)(MANY + 7), MANY + 7)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.sampled_from([None, (8, 8), (30, 17)]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_crops_of_bytes_are_those_of_torchvision(seed, height, width, size, layout):
    images = torch.randint(256, (3, 3, height, width), generator=generator(seed), dtype=torch.uint8)
    images = images.to(memory_format=layout)
    crop = RandomResizedCrop(size, scale=(0.05, 1.0))
    params = crop.sample(images, generator(seed))
    for image, found, *box in zip(
        images,
        crop.apply(images, params),
        params.top,
        params.bottom,
        params.left,
        params.right,
        params.flip,
        strict=True,
    ):
        top, bottom, left, right, flip = (int(edge) for edge in box)
        expected = tv.resized_crop(image, top, left, bottom - top, right - left, list(size or (height, width)))
        assert torch.equal(found, tv.horizontal_flip(expected) if flip else expected)


@pytest.mark.parametrize(("height", "width"), [(100, 11), (11, 100), (37, 90), (9, 9)])
def test_where_no_draw_fits_the_crop_is_the_one_in_the_middle_of_torchvision(height, width):
    from torchvision.transforms import RandomResizedCrop as Theirs

    images = torch.zeros(1, 3, height, width)
    params = RandomResizedCrop(scale=(9.0, 9.0)).sample(images, generator())
    top, left, tall, wide = Theirs.get_params(images, [9.0, 9.0], [3 / 4, 4 / 3])
    assert [edge.item() for edge in (params.top, params.bottom, params.left, params.right)] == [
        top, top + tall, left, left + wide
    ]  # fmt: skip


def test_crops_lie_inside_with_area_and_ratio_in_range_and_flips_with_their_probability():
    params = RandomResizedCrop(flip=0.3).sample(torch.zeros(6000, 3, 100, 150), generator())
    tall, wide = params.bottom - params.top, params.right - params.left
    assert (params.top >= 0).all()
    assert (params.left >= 0).all()
    assert params.bottom.max() == 100
    assert params.right.max() == 150
    assert tall.mul(wide).min().item() >= 0.075 * 15_000
    assert wide.div(tall).min().item() >= 0.73
    assert wide.div(tall).max().item() <= 1.37
    assert params.flip.float().mean().item() == pytest.approx(0.3, abs=0.03)
    params = RandomResizedCrop(scale=(0.2, 0.3)).sample(torch.zeros(1000, 3, 100, 150), generator())
    areas = (params.bottom - params.top) * (params.right - params.left) / 15_000
    assert 0.19 < areas.min() < 0.21
    assert 0.29 < areas.max() < 0.31


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_whole_image_without_a_flip_is_the_identity_in_its_layout(layout):
    images = torch.randint(256, (4, 3, 9, 11), generator=generator(), dtype=torch.uint8).to(memory_format=layout)
    edges = (torch.full((4,), edge) for edge in (0, 9, 0, 11))
    found = RandomResizedCrop().apply(images, CropBoxes(*edges, flip=torch.zeros(4, dtype=torch.bool)))
    assert torch.equal(found, images)
    assert found.is_contiguous(memory_format=layout)


def test_a_chain_does_one_after_another(images):
    chain = build_chain("crop_flip+trivialaugment+cutout")
    params = chain.sample(images, generator(3))
    expected = images
    for part, drawn in zip(chain.parts, params, strict=True):
        expected = part.apply(expected, drawn)
    assert torch.equal(chain.apply(images, params), expected)
    assert not isinstance(chain, MixingAugmentation)
    assert build_chain("trivialaugment") == TrivialAugmentWide()


def test_a_chain_that_mixes_mixes_targets(images, targets):
    chain = build_chain("crop+mixup+cutmix")
    assert isinstance(chain, MixingAugmentation)
    params = chain.sample(images, generator(3))
    expected = CutMix().mix_targets(Mixup().mix_targets(targets, params[1], 4), params[2], 4)
    torch.testing.assert_close(chain.mix_targets(targets, params, 4), expected)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS.names if not name.startswith("crop")])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_dtype_and_memory_format_are_kept(name, dtype):
    images = torch.rand(6, 3, 16, 20, generator=generator()).mul(255 if dtype == torch.uint8 else 1).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    augmentation = AUGMENTATIONS[name]()
    found = augmentation.apply(images, augmentation.sample(images, generator()))
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)


BYTES = [name for name in AUGMENTATIONS.names if takes_bytes(AUGMENTATIONS[name]())]


@pytest.mark.parametrize(
    "name", [*(name for name in BYTES if name not in ("resized_crop", "jigen_crop")), "randaugment+cutmix"]
)
def test_what_takes_bytes_makes_of_them_what_it_makes_of_floats(name):
    images = torch.randint(256, (24, 3, 16, 20), generator=generator(), dtype=torch.uint8)
    augmentation = build_chain(name)
    assert takes_bytes(augmentation)
    params = augmentation.sample(images, generator())
    assert torch.equal(augmentation.apply(images, params) / 255, augmentation.apply(images / 255, params))


def test_a_chain_takes_bytes_if_all_its_parts_do():
    assert {"resized_crop", "color_jitter", "trivialaugment", "cutmix", "none"} <= set(BYTES)
    assert not {"mixup", "augmix", "crop", "crop_flip_jitter"} & set(BYTES)
    assert not takes_bytes(build_chain("resized_crop+mixup"))


def test_only_those_that_mix_say_so():
    assert [name for name in AUGMENTATIONS.names if isinstance(AUGMENTATIONS[name](), MixingAugmentation)] == [
        "mixup",
        "cutmix",
    ]


def test_an_unknown_link_of_a_chain_is_named():
    with pytest.raises(InputError, match="unknown augmentation 'trivial'; did you mean 'trivialaugment'"):
        build_chain("crop+trivial")
