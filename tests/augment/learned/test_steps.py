"""One step of each game, its losses and optimizers written out; and where learning stops and starts again."""

import copy
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn
from torch.optim import SGD, Adam

from afield.augment.learned import AffineGame, AffineSettings, DaganGame, DaganSettings, learn_affine, loop
from afield.training import Subset


def generator(seed=5):
    return torch.Generator().manual_seed(seed)


def flat_classifier():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


def batch(seed=0):
    return torch.rand(6, 3, 8, 8, generator=generator(seed)), torch.tensor([0, 1, 2, 3, 0, 1])


def assert_moved(game, name, old, loss, kind, **options):
    """The gradient of the loss was taken, and the optimizer is of this kind and has moved the parameters."""
    moved, before = list(getattr(game, name).parameters()), list(getattr(old, name).parameters())
    for parameter, gradient in zip(moved, torch.autograd.grad(loss, before, retain_graph=True), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)
    optimizer = game.optimizers[name]
    assert type(optimizer) is kind
    assert {option: optimizer.defaults[option] for option in options} == options
    assert any(not torch.equal(new, old) for new, old in zip(moved, before, strict=True))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("saturating", {"sign": "printed"}),
        ("non_saturating", {}),
        ("none", {"form": "gap"}),
        ("none", {"target_entropy": 0.7}),
    ],
    ids=["paper", "default entropy", "gap", "target"],
)
def test_a_step_of_the_affine_game(form, options):
    settings = AffineSettings(discriminator=form, learning_rate=0.01, discriminator_rate=0.05, **options)
    torch.manual_seed(0)
    game = AffineGame(settings, flat_classifier())
    old = copy.deepcopy(game)
    images, targets = batch()
    game.step(images, targets, generator())

    noise = old.augmentor.draw_noise(6, generator())
    choice = old.augmentor.choose(images, noise)
    grid = F.affine_grid(old.augmentor.theta(choice, noise), [6, 3, 8, 8], align_corners=False)
    warped = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    logits = old.classifier(warped)
    p = logits.softmax(dim=1)
    gap = 2 + (p * p.log2()).sum(dim=1)
    entropy = (gap + 1e-3).log()
    if "sign" in options:
        entropy = -entropy
    if "form" in options:
        entropy = gap
    if "target_entropy" in options:
        entropy = (gap - 0.3 * 2).square()
    teacher = old.teacher(warped)
    loss = 2.0 * entropy.mean() - 0.1 * choice.width.log().sum(dim=1).mean() + F.cross_entropy(teacher, targets)
    if form == "saturating":
        loss = loss + (1 - old.discriminator(warped).sigmoid()).log().mean()
    if form == "non_saturating":
        loss = loss - old.discriminator(warped).sigmoid().log().mean()
    assert_moved(game, "network", old, loss, Adam, lr=0.01, betas=(0.9, 0.999))
    assert_moved(game, "classifier", old, F.cross_entropy(logits, targets), SGD, lr=0.02, momentum=0.9)
    for found, first, moved in zip(
        *(g.parameters() for g in (game.teacher, old.teacher, game.classifier)), strict=True
    ):
        torch.testing.assert_close(found, 0.99 * first + 0.01 * moved.detach())
    before = max((old.teacher(images).argmax(dim=1) == targets).float().mean().item(), 1 / 6)
    after = (teacher.argmax(dim=1) == targets).float().mean().item()
    assert game.multiplier.item() == pytest.approx(math.exp(0.5 * (0.9 - after / before)))
    if form == "none":
        assert game.discriminator is None
    else:
        real, fake = old.discriminator(images), old.discriminator(warped.detach())
        loss = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
        assert_moved(game, "discriminator", old, loss, SGD, lr=0.05, momentum=0)


def test_the_multiplier_and_its_bounds():
    game = AffineGame(AffineSettings(), flat_classifier())
    images, targets = batch()
    right, wrong = F.one_hot(targets, 4).float(), F.one_hot((targets + 1) % 4, 4).float()
    game.multiplier.fill_(999.9)
    game._adapt_multiplier(images, wrong, targets)
    assert game.multiplier.item() == 1000
    game.multiplier.fill_(1.001e-3)
    game.teacher.forward = lambda images: wrong
    game._adapt_multiplier(images, right, targets)  # after / before is 1 / (1 / 6), since before is at least one image
    assert game.multiplier.item() == pytest.approx(1e-3)
    game.multiplier.fill_(1.0)
    game._adapt_multiplier(images, right, targets)
    assert game.multiplier.item() == pytest.approx(math.exp(0.5 * (0.9 - 6)))


def test_a_fixed_weight_of_recognition_is_the_first_and_the_last():
    game = AffineGame(AffineSettings(recognition_weight=0.25, refresh=False), flat_classifier())
    for _ in range(3):
        game.step(*batch(), generator())
    assert game.multiplier.item() == 0.25
    assert set(game.optimizers) == {"network"}
    assert game.teacher is game.classifier


def test_a_step_of_the_dagan():
    settings = DaganSettings(critic_steps=1, spread_weight=0.5, learning_rate=0.01)
    torch.manual_seed(0)
    game = DaganGame(settings, flat_classifier())
    old = copy.deepcopy(game)
    images, targets = batch()
    partners = images[[4, 5, 3, 2, 0, 1]]
    game.step(images, targets, partners, generator())

    draws = generator()
    noise, other = torch.randn(6, 32, generator=draws), torch.randn(6, 32, generator=draws)
    variants = old.network(images, noise)
    apart = (variants - old.network(images, other)).abs().mean(dim=(1, 2, 3))
    spread = (apart / (noise - other).abs().mean(dim=1)).mean()
    recognition = F.cross_entropy(old.classifier(variants), targets)
    loss = -old.critic(images, variants).mean() + 0.1 * recognition - 0.5 * spread
    assert_moved(game, "network", old, loss, Adam, lr=0.01, betas=(0.0, 0.9))

    share = torch.rand(6, 1, 1, 1, generator=draws)
    between = ((1 - share) * partners + share * variants).detach().requires_grad_()
    (slope,) = torch.autograd.grad(old.critic(images, between).sum(), between, create_graph=True)
    penalty = (slope.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()
    gap = (old.critic(images, partners) - old.critic(images, variants.detach())).mean()
    assert_moved(game, "critic", old, 10 * penalty - gap, Adam, lr=0.01, betas=(0.0, 0.9))


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
def test_learning_that_is_complete_is_read_from_its_checkpoint(tmp_path, monkeypatch):
    images, targets = batch()
    pixels = (images.permute(0, 2, 3, 1) * 255).byte().numpy()
    source, empty = Subset(pixels, targets.numpy(), np.arange(6)), Subset(pixels, targets.numpy(), np.arange(0))
    settings = AffineSettings(epochs=1, batch_size=4, epoch_steps=1)

    def learn(**watched):
        fabric = Fabric(accelerator="cpu")
        options = {"seed": 3, "checkpoint_file": tmp_path / "checkpoint", "fabric": fabric}
        return learn_affine(flat_classifier(), source, watched, settings, **options)

    steps = []
    step = AffineGame.step
    monkeypatch.setattr(AffineGame, "step", lambda game, *parts: (steps.append(len(parts[0])), step(game, *parts)))
    whole = learn(validation=empty)
    assert steps == [4]  # one batch of four, the remainder of two is left out
    assert [set(epoch) for epoch in whole.epochs] == 2 * [{"train"}]
    assert learn(validation=empty).epochs == whole.epochs
    assert steps == [4]


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
@pytest.mark.parametrize(
    ("tick", "limit", "expected"),
    [
        (0.0, 0.0, [(2, 0, 0)]),
        # The clock starts at 10; it is read once before each epoch, at its start, after each step and at its end.
        (10.0, 20.0, [(0, 2, 30), (1, 0, 50), (1, 2, 80), (2, 0, 100)]),
    ],
)
def test_a_checkpoint_is_written_after_more_than_its_seconds_and_at_the_end(
    tmp_path, monkeypatch, tick, limit, expected
):
    images, targets = batch()
    source = Subset((images.permute(0, 2, 3, 1) * 255).byte().numpy(), targets.numpy(), np.arange(6))
    clock, saved = itertools.count(1), []
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: tick * next(clock)))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", limit)
    monkeypatch.setattr(
        loop, "_save", lambda path, game, generator, state: saved.append((state.epoch, state.position, state.seconds))
    )
    settings, fabric = AffineSettings(epochs=2, batch_size=2, epoch_steps=1), Fabric(accelerator="cpu")
    learn_affine(flat_classifier(), source, {}, settings, seed=3, checkpoint_file=tmp_path / "file", fabric=fabric)
    assert saved == expected


def test_noise_of_an_augmentor_is_uniform_from_minus_one_to_one():
    noise = AffineGame(AffineSettings(), flat_classifier()).augmentor.draw_noise(4000, generator())
    assert noise.shape == (4000, 8)
    assert -1 <= noise.min() < -0.999
    assert 0.999 < noise.max() < 1
    assert noise.var().item() == pytest.approx(1 / 3, rel=0.02)
