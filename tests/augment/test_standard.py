"""Crop, flip and color against longhand coordinates and torchvision's own operations."""

from dataclasses import fields, replace

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from afield.augment import AUGMENTATIONS, Identity, Standard
from afield.augment.color.float_images import jitter, shift_hue
from afield.augment.standard import crop_flip

STILL = Standard(scale=(1.0, 1.0), ratio=(1.0, 1.0))
JITTER = Standard(flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Six colorful images of 10 x 12 pixels in [0, 1], with pure, gray, black and white ones among the pixels."""
    found = torch.rand(6, 3, 10, 12, generator=generator(7))
    found[0, :, :4, :4] = torch.eye(3)[:, :, None].expand(3, 3, 4)[:, torch.tensor([0, 1, 2, 0])]
    found[1, :, 0], found[1, :, 1], found[1, :, 2] = 0.0, 1.0, 0.5
    return found


@pytest.fixture
def still(images):
    """A draw that changes nothing, to replace one thing at a time."""
    return STILL.sample(images, generator())


def test_the_same_draw_gives_the_same_images(images):
    params = JITTER.sample(images, generator(1))
    assert torch.equal(JITTER.apply(images, params), JITTER.apply(images, params))


def test_equal_generators_give_equal_draws_and_other_seeds_others(images):
    first, again, other = (JITTER.apply(images, JITTER.sample(images, generator(s))) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_each_image_has_a_draw_of_its_own(images):
    params = JITTER.sample(images, generator())
    for field in fields(params):
        value = getattr(params, field.name)
        assert value.shape == (6,)
        assert len(value.unique()) == (2 if field.name == "flip" else 6)


def test_applying_leaves_the_given_images_as_they_were(images):
    before = images.clone()
    JITTER.apply(images, JITTER.sample(images, generator()))
    assert torch.equal(images, before)


def test_no_strength_at_all_is_the_identity(images, still):
    torch.testing.assert_close(STILL.apply(images, still), images, atol=1e-6, rtol=0)


def test_none_returns_the_very_images(images):
    assert Identity().apply(images, Identity().sample(images, generator())) is images


def test_a_color_draw_of_no_strength_is_the_identity(images, still):
    torch.testing.assert_close(
        jitter(images, still.brightness, still.contrast, still.saturation), images, atol=1e-6, rtol=0
    )
    torch.testing.assert_close(shift_hue(images, still.hue), images, atol=1e-6, rtol=0)


def test_a_flip_is_a_mirror_image_of_the_images_that_drew_it(images, still):
    flip = torch.tensor([True, False, True, True, False, False])
    found = crop_flip(images, replace(still, flip=flip))
    torch.testing.assert_close(found[flip], torch.flip(images[flip], dims=[3]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[~flip], images[~flip], atol=1e-6, rtol=0)


def test_flips_come_with_their_probability():
    many = torch.zeros(4000, 3, 2, 2)
    for probability in (0.0, 0.3, 1.0):
        share = Standard(flip=probability).sample(many, generator()).flip.float().mean().item()
        assert share == pytest.approx(probability, abs=0.03)


def pixel_centers(count):
    """The middles of `count` pixels that fill [-1, 1]."""
    return (torch.arange(count) + 0.5) * 2 / count - 1


def test_a_crop_shows_the_drawn_window():
    x, y = torch.meshgrid(pixel_centers(20), pixel_centers(16), indexing="xy")
    ramps = torch.stack([x, y, torch.zeros_like(x)]).expand(2, 3, 16, 20)
    params = replace(
        STILL.sample(ramps, generator()),
        center_x=torch.tensor([0.1, -0.2]),
        center_y=torch.tensor([-0.3, 0.0]),
        half_width=torch.tensor([0.8, 0.5]),
        half_height=torch.tensor([0.6, 0.9]),
        flip=torch.tensor([False, True]),
    )
    found = crop_flip(ramps, params)
    # Each output pixel holds the coordinates that it was taken from.
    torch.testing.assert_close(found[0, 0], 0.1 + 0.8 * x, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0, 1], -0.3 + 0.6 * y, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1, 0], -0.2 - 0.5 * x, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1, 1], 0.9 * y, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [(0.8, 1.0), (0.3, 0.5), (1.0, 1.0)])
def test_crops_lie_inside_the_image_with_area_and_ratio_in_range(scale):
    params = Standard(scale=scale).sample(torch.zeros(3000, 3, 2, 2), generator())
    area = params.half_width * params.half_height
    assert area.min() >= scale[0] - 1e-5
    assert area.max() <= scale[1] + 1e-5
    aspect = params.half_width / params.half_height
    assert aspect.min() >= 3 / 4 - 1e-5
    assert aspect.max() <= 4 / 3 + 1e-5
    assert ((params.center_x.abs() + params.half_width) <= 1 + 1e-6).all()
    assert ((params.center_y.abs() + params.half_height) <= 1 + 1e-6).all()


def test_bytes_are_refused_with_what_takes_them(still):
    with pytest.raises(ValueError, match=r"got torch\.uint8; for bytes, use RandomResizedCrop"):
        STILL.apply(torch.zeros(6, 3, 4, 4, dtype=torch.uint8), still)


FACTORS = torch.tensor([0.2, 0.6, 0.9, 1.0, 1.3, 1.8])


@pytest.mark.parametrize(
    ("name", "reference"),
    [("brightness", tv.adjust_brightness), ("contrast", tv.adjust_contrast), ("saturation", tv.adjust_saturation)],
)
def test_brightness_contrast_and_saturation_are_those_of_torchvision(images, name, reference):
    found = jitter(
        images,
        **{each: FACTORS if each == name else torch.ones(6) for each in ("brightness", "contrast", "saturation")},
    )
    expected = torch.stack([reference(image, factor) for image, factor in zip(images, FACTORS.tolist(), strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_three_follow_each_other_in_their_order(images):
    found = jitter(images, brightness=FACTORS, contrast=FACTORS.flip(0), saturation=FACTORS)
    expected = torch.stack(
        [
            tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(image, a), b), a)
            for image, a, b in zip(images, FACTORS.tolist(), FACTORS.flip(0).tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_hue_shifts_are_those_of_torchvision(images):
    turns = torch.tensor([-0.5, -0.31, -0.1, 0.05, 0.25, 0.5])
    expected = torch.stack([tv.adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)])
    torch.testing.assert_close(shift_hue(images, turns), expected, atol=1e-4, rtol=0)


def test_a_third_of_a_turn_makes_red_green_and_green_blue():
    red_green_blue = torch.eye(3).view(1, 3, 1, 3)
    found = shift_hue(red_green_blue, torch.tensor([1 / 3]))
    torch.testing.assert_close(found[0, :, 0].T, torch.eye(3)[[1, 2, 0]], atol=1e-5, rtol=0)


def test_color_factors_are_drawn_from_their_ranges(images):
    many = torch.zeros(3000, 3, 2, 2)
    params = Standard(brightness=0.4, contrast=0.2, saturation=0.3, hue=0.1).sample(many, generator())
    for name, middle, reach in (("brightness", 1, 0.4), ("contrast", 1, 0.2), ("saturation", 1, 0.3), ("hue", 0, 0.1)):
        value = getattr(params, name)
        assert value.min().item() == pytest.approx(middle - reach, abs=0.01)
        assert value.max().item() == pytest.approx(middle + reach, abs=0.01)
        assert value.mean().item() == pytest.approx(middle, abs=0.03)


@pytest.mark.parametrize("name", AUGMENTATIONS.names)
def test_the_output_stays_within_zero_and_one(images, name):
    augmentation = AUGMENTATIONS[name]()
    for seed in range(5):
        found = augmentation.apply(images, augmentation.sample(images, generator(seed)))
        assert found.min() >= 0
        assert found.max() <= 1


def test_the_jitter_strengths_are_those_of_the_protocol():
    expected = Standard(scale=(0.8, 1.0), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
    assert AUGMENTATIONS["crop_flip_jitter"]() == expected
