"""Affine transformations: matrices, their decomposition, images through them, and the network that chooses them."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from afield.augment import (
    AffineAugmentor,
    AffineBounds,
    AffineParams,
    AugmentorConfig,
    RandomAffine,
    compose,
    decompose,
    identity_distance,
    warp_affine,
)
from afield.errors import InputError

EVERY_CONFIG = [
    AugmentorConfig(form, draw) for form in ("bounded", "free") for draw in ("distribution", "noise", "point")
]
every_config = pytest.mark.parametrize("config", EVERY_CONFIG, ids=lambda config: f"{config.form}-{config.draw}")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6, side: int = 12) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator())


def trained(config: AugmentorConfig, seed: int = 0) -> AffineAugmentor:
    """An augmentor whose last layer is not zero."""
    augmentor = AffineAugmentor(config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nn.init.normal_(augmentor.network.out.weight, std=0.5)
        nn.init.normal_(augmentor.network.out.bias, std=0.5)
    return augmentor


def test_a_rotation_is_the_matrix_of_the_textbook():
    angle = math.radians(30)
    theta = compose(torch.tensor([[angle, 0.0, 0.0, 0.0, 0.0, 0.0]]))
    expected = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    torch.testing.assert_close(theta[0], expected)


def test_a_composition_in_longhand():
    """Shear 0.5, scales 2 and 4, shift (0.25, -0.5), without a turn: x reads 2x + 0.5 * 4y + 0.25, y reads 4y - 0.5."""
    theta = compose(torch.tensor([[0.0, math.log(2), math.log(4), 0.5, 0.25, -0.5]]))
    torch.testing.assert_close(theta[0], torch.tensor([[2.0, 2.0, 0.25], [0.0, 4.0, -0.5]]))


@given(st.floats(-179, 179), st.floats(-1, 1), st.floats(-1, 1), st.floats(-2, 2), st.floats(-1, 1), st.floats(-1, 1))
def test_what_is_composed_is_decomposed_again(degrees, log_x, log_y, shear, x, y):
    theta = compose(torch.tensor([[math.radians(degrees), log_x, log_y, shear, x, y]], dtype=torch.float64))
    found = decompose(theta, height=40, width=60)
    assert found.rotation.item() == pytest.approx(degrees, abs=1e-6)
    assert found.scale_x.item() == pytest.approx(math.exp(-log_x), rel=1e-9)
    assert found.scale_y.item() == pytest.approx(math.exp(-log_y), rel=1e-9)
    assert found.shear.item() == pytest.approx(shear, abs=1e-9)
    # Where the picture's center went reads the picture's center.
    place = torch.tensor([found.shift_x.item() / 30, found.shift_y.item() / 20, 1.0], dtype=torch.float64)
    torch.testing.assert_close(theta[0] @ place, torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_mirror_image_shows_in_the_sign_of_its_height():
    found = decompose(torch.tensor([[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]]), 8, 8)
    assert (found.scale_x.item(), found.scale_y.item()) == (1.0, -1.0)


def test_a_decomposition_in_words():
    theta = compose(torch.tensor([[math.radians(12), math.log(0.5), 0.0, 0.0, 0.0, 0.0]]))
    assert decompose(theta, 32, 32).describe(0) == "12°, 2.00 x 1.00, shear 0.00, shift 0.0, 0.0 px"


def test_a_picture_is_turned_counter_clockwise_and_moved_as_its_decomposition_says():
    picture = torch.zeros(1, 3, 9, 9)
    picture[..., 4, 7] = 1.0  # right of the center by 3
    turned = warp_affine(picture, compose(torch.tensor([[math.pi / 2, 0.0, 0.0, 0.0, 0.0, 0.0]])), "zeros")
    assert turned[0, 0, 1, 4].item() == pytest.approx(1.0, abs=1e-5)  # above it by 3
    theta = compose(torch.tensor([[0.0, 0.0, 0.0, 0.0, 4 / 9, -2 / 9]]))
    moved = warp_affine(picture, theta, "zeros")
    found = decompose(theta, 9, 9)
    assert (found.shift_x.item(), found.shift_y.item()) == pytest.approx((-2.0, 1.0))
    assert moved[0, 0, 5, 5].item() == pytest.approx(1.0, abs=1e-5)


def test_the_distance_from_the_identity_is_a_frobenius_norm():
    theta = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1.0, 2.0, 0.0], [0.0, 3.0, 1.0]]])
    torch.testing.assert_close(identity_distance(theta), torch.tensor([0.0, 3.0]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_that_are_left_out_stay_to_the_bit(dtype):
    batch = (255 * images()).to(dtype)
    augment = RandomAffine(probability=0.5)
    params = augment.sample(batch, generator(3))
    found = augment.apply(batch, params)
    assert found.dtype == dtype
    assert 0 < params.applied.sum() < len(batch)
    for i, applied in enumerate(params.applied.tolist()):
        assert torch.equal(found[i], batch[i]) != applied
    assert torch.equal(augment.apply(batch, params), found)
    torch.testing.assert_close(augment.apply(batch[2:4], params[2:4]), found[2:4])


@given(st.integers(0, 50))
def test_random_parameters_stay_within_their_bounds(seed):
    bounds = AffineBounds(20.0, 1.5, 0.2, 0.1)
    params = RandomAffine(bounds).sample(images(20), generator(seed))
    found = decompose(params.theta, 10, 10)
    assert found.rotation.abs().max() <= 20 + 1e-3
    assert found.scale_x.log().abs().max() <= math.log(1.5) + 1e-5
    assert found.shear.abs().max() <= 0.2 + 1e-5


def test_bounds_of_nothing_are_the_identity():
    nothing = AffineBounds(0.0, 1.0, 0.0, 0.0)
    batch = images()
    for augment in (RandomAffine(nothing), trained(AugmentorConfig(bounds=nothing))):
        params = augment.sample(batch, generator())
        assert torch.equal(params.theta, torch.eye(2, 3).expand(len(batch), 2, 3))
        torch.testing.assert_close(augment.apply(batch, params), batch, atol=2e-6, rtol=0)
    unapplied = AffineParams(params.theta, torch.zeros(len(batch), dtype=torch.bool))
    assert torch.equal(augment.apply(batch, unapplied), batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotation": 200.0}, "rotation must lie between 0 and 180, got 200"),
        ({"scale": 0.5}, "scale must lie between 1 and 10, got 0.5"),
        ({"translation": -0.1}, "translation must lie between 0 and 1, got -0.1"),
    ],
)
def test_bounds_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AffineBounds(**change)


@pytest.mark.parametrize("change", [{"form": "round"}, {"draw": "line"}, {"padding": "wrap"}, {"probability": 1.5}])
def test_a_config_out_of_range_is_refused(change):
    (name,) = change
    with pytest.raises(ValueError, match=name):
        AugmentorConfig(**change)


@every_config
def test_a_new_augmentor_is_near_the_identity(config):
    augmentor = AffineAugmentor(config)
    theta = augmentor.sample(images(), generator()).theta
    largest = 0.35 if config.draw == "distribution" else 0.0
    assert identity_distance(theta).max() <= largest


@every_config
def test_the_same_parameters_give_the_same_images(config):
    augmentor, batch = trained(config), images()
    params = augmentor.sample(batch, generator(5))
    assert torch.equal(augmentor.apply(batch, params), augmentor(batch, generator=generator(5)))
    again = augmentor.sample(batch, generator(6))
    assert torch.equal(params.theta, again.theta) == (config.draw == "point")


@every_config
def test_bounded_choices_stay_within_the_bound_whatever_the_network_says(config):
    augmentor = trained(config)
    with torch.no_grad():
        augmentor.network.out.weight.mul_(100)
        choice = augmentor.choose(images(), augmentor.draw_noise(6, generator()))
    reach = choice.center.abs() + choice.width
    assert (reach.max() <= 1 + 1e-6) == (config.form == "bounded")
    assert (choice.width.max() > 0) == (config.draw == "distribution")


@every_config
def test_the_gradient_of_an_image_reaches_every_weight(config):
    augmentor, batch = trained(config), images()
    noise = augmentor.draw_noise(len(batch), generator())
    theta = augmentor.theta(augmentor.choose(batch, noise), noise)
    theta.retain_grad()
    warp_affine(batch, theta).square().sum().backward()
    assert theta.grad.abs().sum(dim=(1, 2)).min() > 0
    for parameter in augmentor.network.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


@every_config
def test_the_gradient_of_the_choice_is_right(config):
    augmentor, batch = trained(config), images(2, side=16).double()
    augmentor.network.double()
    noise = augmentor.draw_noise(2, generator()).double()

    def theta(bias):
        return torch.func.functional_call(Chooser(augmentor, noise), {"network.out.bias": bias}, (batch,))

    assert torch.autograd.gradcheck(theta, augmentor.network.out.bias.detach().clone().requires_grad_())


def test_gradients_through_the_warp_are_right():
    batch = images(1, side=5).double().requires_grad_()
    theta = compose(torch.tensor([[0.1, 0.05, -0.03, 0.02, 0.07, 0.03]], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: warp_affine(a, b, "zeros"), (batch, theta), eps=1e-7, atol=1e-5)


class Chooser(nn.Module):
    """The augmentor's matrices as a function of the network's parameters."""

    def __init__(self, augmentor: AffineAugmentor, noise: torch.Tensor) -> None:
        super().__init__()
        self.augmentor, self.noise, self.network = augmentor, noise, augmentor.network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.augmentor.theta(self.augmentor.choose(batch, self.noise), self.noise)


@every_config
def test_a_saved_augmentor_augments_the_same(config, tmp_path):
    config = dataclasses.replace(config, probability=0.7, bounds=AffineBounds(5.0, 1.1, 0.0, 0.1), padding="zeros")
    augmentor = trained(config)
    augmentor.write(tmp_path / "a.safetensors")
    again = AffineAugmentor.read(tmp_path / "a.safetensors")
    assert again.config == config
    batch = (255 * images()).to(torch.uint8)
    assert torch.equal(again(batch, generator=generator(1)), augmentor(batch, generator=generator(1)))


def test_a_file_that_is_no_augmentor_is_refused(tmp_path):
    file = tmp_path / "broken.safetensors"
    with pytest.raises(InputError, match=r"cannot read .*broken\.safetensors as a learned augmentor"):
        AffineAugmentor.read(file)
    file.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match=r"cannot read .*broken\.safetensors as a learned augmentor"):
        AffineAugmentor.read(file)
