"""Operations on uint8 against torchvision's own, at every magnitude that a policy draws; and how draws are applied."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from afield.augment import Draws, RandAugment, TrivialAugmentWide, apply_draws, describe, operate
from afield.augment.policies.geometry import GEOMETRY
from afield.augment.policies.operations import CHUNK, NAMES, kind
from afield.errors import InputError

SIZES = [(32, 32), (33, 32), (20, 31), (5, 7), (48, 64), (2, 9), (1, 1)]


def affine(image, mode, **changes):
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "interpolation": mode}
    return tv.affine(image, **{**still, **changes})


def slope(magnitude):
    return math.degrees(math.atan(magnitude))


TORCHVISION = {
    "identity": lambda image, m, mode: image,
    "shear_x": lambda image, m, mode: affine(image, mode, shear=[slope(m), 0.0], center=[0, 0]),
    "shear_y": lambda image, m, mode: affine(image, mode, shear=[0.0, slope(m)], center=[0, 0]),
    "translate_x": lambda image, m, mode: affine(image, mode, translate=[int(m), 0]),
    "translate_y": lambda image, m, mode: affine(image, mode, translate=[0, int(m)]),
    "rotate": lambda image, m, mode: tv.rotate(image, m, interpolation=mode),
    "brightness": lambda image, m, mode: tv.adjust_brightness(image, 1.0 + m),
    "color": lambda image, m, mode: tv.adjust_saturation(image, 1.0 + m),
    "contrast": lambda image, m, mode: tv.adjust_contrast(image, 1.0 + m),
    "sharpness": lambda image, m, mode: tv.adjust_sharpness(image, 1.0 + m),
    "posterize": lambda image, m, mode: tv.posterize(image, int(m)),
    "solarize": lambda image, m, mode: tv.solarize(image, 255 * m),
    "autocontrast": lambda image, m, mode: tv.autocontrast(image),
    "equalize": lambda image, m, mode: tv.equalize(image),
    "invert": lambda image, m, mode: tv.invert(image),
    "hue": lambda image, m, mode: tv.adjust_hue(image, m),
}
IN_TORCHVISION = {"".join(part.capitalize() for part in name.split("_")): name for name in NAMES}
IN_TORCHVISION["AutoContrast"] = "autocontrast"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photographs(height, width, count=4):
    """Noise, noise of little contrast, an image with a channel of one value, and a ramp; over and over."""
    found = torch.randint(256, (count, 3, height, width), generator=generator(height), dtype=torch.uint8)
    found[1::4] = found[1::4] // 4 + 90
    found[2::4, 0] = 77
    found[3::4] = torch.linspace(0, 255, width).to(torch.uint8)
    return found


def every_magnitude(name, height, width):
    """What TrivialAugment, RandAugment and AugMix can draw for this operation, with both signs where they do."""
    if name == "hue":
        return [-0.5, -0.31, -0.1, 0.0, 0.05, 0.25, 0.5]
    found = {0.0} if name in ("invert", "identity", "autocontrast", "equalize") else set()
    for policy, bins in ((v2.TrivialAugmentWide, 31), (v2.RandAugment, 31), (v2.AugMix, 10)):
        for theirs, (values, signed) in policy._AUGMENTATION_SPACE.items():
            levels = values(bins, height, width)
            if IN_TORCHVISION[theirs] == name and levels is not None:
                found |= {float(level) for level in levels} | ({-float(level) for level in levels} if signed else set())
    return sorted(found)


def theirs(name, images, magnitudes, interpolation="nearest"):
    """What torchvision makes of each image with its magnitude."""
    mode = v2.InterpolationMode(interpolation)
    pairs = zip(images, magnitudes.tolist(), strict=True)
    return torch.stack([TORCHVISION[name](image, magnitude, mode) for image, magnitude in pairs])


def test_there_is_a_reference_for_every_operation():
    assert set(TORCHVISION) == set(NAMES)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_that_of_torchvision_at_every_magnitude(name, size):
    magnitudes = every_magnitude(name, *size)
    images = photographs(*size, count=4 * len(magnitudes))
    each = torch.tensor(magnitudes, dtype=torch.float64).repeat_interleave(4)
    assert torch.equal(operate(name, images, each), theirs(name, images, each))


@pytest.mark.parametrize("size", [(32, 32), (20, 31)], ids=["32x32", "20x31"])
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_is_that_of_torchvision_with_bilinear_interpolation_too(name, size):
    magnitudes = torch.tensor(every_magnitude(name, *size), dtype=torch.float64)
    images = photographs(*size, count=len(magnitudes))
    expected = theirs(name, images, magnitudes, "bilinear")
    draws = Draws(torch.full((len(images), 1), kind(name)), magnitudes[:, None])
    assert torch.equal(apply_draws(images, draws, "bilinear"), expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_on_large_images_is_that_of_torchvision(name):
    images = photographs(224, 230, 8)
    assert images.numel() > CHUNK
    for magnitude in every_magnitude(name, 224, 230)[::9]:
        expected = theirs(name, images, torch.full((len(images),), magnitude, dtype=torch.float64))
        assert torch.equal(operate(name, images, magnitude), expected)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    share=st.floats(-1, 1, width=32),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_any_magnitude_and_any_size_are_those_of_torchvision(name, share, height, width, seed):
    reach = {"rotate": 360.0, "translate_x": 25.0, "translate_y": 25.0, "posterize": 8.0, "hue": 0.5}.get(name, 1.0)
    magnitude = reach * (abs(share) if name in ("posterize", "solarize") else share)
    images = torch.randint(256, (2, 3, height, width), generator=generator(seed), dtype=torch.uint8)
    expected = theirs(name, images, torch.full((2,), magnitude, dtype=torch.float64))
    assert torch.equal(operate(name, images, magnitude), expected)


@pytest.mark.parametrize("turns", [-0.5, -1 / 3, -0.1, 0.0, 1 / 6, 0.4999])
def test_hue_is_that_of_torchvision_for_every_color_of_a_fine_grid(turns):
    shades = torch.tensor([*range(0, 256, 5), 1, 2, 3, 253, 254], dtype=torch.uint8)
    colors = torch.cartesian_prod(shades, shades, shades).T.reshape(1, 3, len(shades), -1)
    assert torch.equal(operate("hue", colors, turns), tv.adjust_hue(colors, turns))


STILL = {"posterize": 8.0, "solarize": 1.0}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("autocontrast", "equalize", "invert")])
def test_strength_zero_is_the_identity(name):
    images = photographs(20, 31)
    if name == "solarize":
        images = images.clamp(max=254)  # white is at the threshold, for torchvision too
    if name == "hue":
        images = images[:2]
        assert (operate(name, images, 0.0).int() - images.int()).abs().max() <= 1  # to HSV and back
    else:
        assert torch.equal(operate(name, images, STILL.get(name, 0.0)), images)


@pytest.fixture
def images():
    return photographs(12, 17, count=40)


@pytest.fixture
def draws():
    """Three steps an image, of all operations."""
    kinds = torch.randint(len(NAMES), (40, 3), generator=generator(1))
    return Draws(kinds, torch.rand(40, 3, generator=generator(2), dtype=torch.float64) / 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_batch_is_each_image_by_itself(images, draws, layout):
    images = images.to(memory_format=layout)
    alone = [apply_draws(images[i : i + 1], draws[i : i + 1]) for i in range(40)]
    found = apply_draws(images, draws)
    assert torch.equal(found, torch.cat(alone))
    assert found.is_contiguous(memory_format=layout)


def test_steps_follow_each_other_in_their_order(images, draws):
    expected = images
    for step in range(3):
        expected = apply_draws(expected, draws.steps(step, step + 1))
    assert torch.equal(apply_draws(images, draws), expected)


def test_the_given_images_stay_as_they_were(images, draws):
    before = images.clone()
    apply_draws(images, draws)
    assert torch.equal(images, before)


def test_float_images_of_decoded_bytes_give_the_same_as_the_bytes(images, draws):
    found = apply_draws(images.float().div(255), draws)
    assert torch.equal(found, apply_draws(images, draws).float().div(255))


def test_float_images_that_drew_nothing_stay_as_they_are_between_the_bytes():
    images = torch.rand(3, 3, 8, 8, generator=generator())
    draws = Draws(torch.tensor([[0, 0], [0, kind("invert")], [0, 0]]), torch.zeros(3, 2))
    found = apply_draws(images, draws)
    assert torch.equal(found[[0, 2]], images[[0, 2]])
    torch.testing.assert_close(found[1], 1 - images[1], atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_dtype_is_kept(dtype):
    images = torch.rand(2, 3, 8, 8, generator=generator()).to(dtype)
    assert operate("rotate", images, 30.0).dtype == dtype


def test_the_same_draw_of_one_image_shows_it_again(images):
    params = RandAugment().sample(images, generator())
    assert torch.equal(RandAugment().apply(images, params)[7:9], RandAugment().apply(images[7:9], params[7:9]))


def test_a_draw_can_be_read():
    draws = Draws(
        torch.tensor([[kind("rotate"), kind("equalize")], [0, 0], [0, kind("shear_x")]]),
        torch.tensor([[27.0, 0.0], [0.0, 0.0], [0.0, -0.3]]),
    )
    assert [describe(draws, i) for i in range(3)] == ["rotate 27, equalize", "identity", "shear_x -0.3"]


@pytest.mark.parametrize("policy", [TrivialAugmentWide(), RandAugment()])
def test_an_empty_batch_stays_empty(policy):
    assert policy(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)).shape == (0, 3, 8, 8)
    assert policy(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 8, 8), torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8).int()])
def test_what_is_no_batch_of_images_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be uint8 or float \[B, 3, H, W\], got torch"):
        operate("invert", wrong, 0.0)


def test_a_wrong_number_of_draws_and_an_unknown_operation_are_refused(images, draws):
    with pytest.raises(ValueError, match="40 images need 40 draws, got 39"):
        apply_draws(images, draws[:39])
    with pytest.raises(InputError, match="unknown operation 'rotat'; did you mean 'rotate'"):
        operate("rotat", images, 1.0)


@pytest.mark.parametrize("low_high", [(-2.0, 2.0), (0.0, 255.0), (0.0, float("nan")), (0.0, 1.1)])
def test_floats_that_would_be_clipped_are_refused(low_high):
    images = torch.tensor(low_high).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"float images must lie in \[0, 1\]"):
        operate_on_floats(images)


def operate_on_floats(images):
    return apply_draws(images, Draws(torch.full((2, 1), kind("invert")), torch.zeros(2, 1, dtype=torch.float64)))


def test_floats_within_half_a_byte_are_taken_as_the_end_of_the_range():
    images = torch.tensor([-0.0015, 1.0015]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert operate_on_floats(images).flatten(1)[:, 0].tolist() == [1.0, 0.0]
