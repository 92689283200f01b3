"""Variants of images: the same noise gives the same ones, the critic's losses by hand, pairs, resuming, the command."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn

from afield.augment import AffineAugmentor, DaganAugmentor, DaganConfig, build_chain, chain_key
from afield.augment.learned import Critic, DaganGame, DaganSettings, learn_dagan, measure_variants
from afield.augment.learned.dagan.critic import critic_gap, gradient_penalty
from afield.augment.learned.dagan.game import mode_seeking
from afield.augment.learned.dagan.pairs import Pairs
from afield.errors import InputError
from afield.evaluation import diagnose_dagan
from afield.training import Subset
from tests.augment.learned.interrupted import ends_the_same

ALWAYS = DaganConfig(probability=1.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, height=12, width=12):
    return torch.rand(count, 3, height, width, generator=generator(7))


def augmentor(config=ALWAYS):
    torch.manual_seed(0)
    return DaganAugmentor(config)


def source(labels, size=8):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    return Subset(pixels, np.array(labels, dtype=np.int64), np.arange(len(labels)))


def classifier(size=8):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 3))


@pytest.mark.parametrize("size", [(12, 12), (32, 20), (7, 9), (1, 1)])
def test_variants_have_the_size_and_kind_of_their_images_and_lie_between_0_and_1(size):
    batch = images(3, *size)
    for given in (batch, (255 * batch).to(torch.uint8), batch.double()):
        found = augmentor()(given, generator=generator())
        assert (found.shape, found.dtype) == (given.shape, given.dtype)
        assert found.min() >= 0
        assert found.max() <= (255 if found.dtype == torch.uint8 else 1)
        assert not torch.equal(found, given)


def test_variants_of_bytes_are_those_of_floats_rounded():
    augment, pixels = augmentor(), (255 * images()).to(torch.uint8)
    params = augment.sample(pixels, generator())
    assert torch.equal(augment.apply(pixels, params), (255 * augment.apply(pixels / 255, params)).round().byte())


def test_the_same_parameters_give_the_same_images_and_other_noise_gives_others():
    augment, batch = augmentor(), images()
    params, other = (augment.sample(batch, generator(seed)) for seed in (0, 1))
    assert (params.noise.shape, params.applied.shape) == ((6, 32), (6,))
    assert torch.equal(augment.apply(batch, params), augment.apply(batch, params))
    assert torch.equal(augment(batch, generator=generator(0)), augment.apply(batch, params))
    assert not torch.equal(augment.apply(batch, other), augment.apply(batch, params))


def test_a_variant_does_not_depend_on_the_other_images():
    augment, batch = augmentor(), images()
    params = augment.sample(batch, generator())
    alone = torch.cat([augment.apply(batch[i : i + 1], params[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, augment.apply(batch, params), atol=1e-5, rtol=0)


def test_images_that_are_not_replaced_are_the_same_to_the_bit():
    for batch in (images(200, 4, 4), (255 * images(200, 4, 4)).to(torch.uint8)):
        never = augmentor(DaganConfig(probability=0.0))
        assert torch.equal(never(batch), batch)
        half = augmentor()
        params = augmentor(DaganConfig(probability=0.3)).sample(batch, generator())
        assert params.applied.float().mean().item() == pytest.approx(0.3, abs=0.1)
        found = half.apply(batch, params)
        same = (found == batch).flatten(1).all(dim=1)
        assert torch.equal(same, ~params.applied)


def test_each_pixel_is_a_blend_of_what_was_there_and_what_is_painted():
    network = augmentor().network
    with torch.no_grad():
        network.out.weight.zero_()
        network.out.bias.copy_(torch.logit(torch.tensor([0.9, 0.5, 0.1, 0.25])))
    batch = images()
    painted = torch.tensor([0.9, 0.5, 0.1]).view(3, 1, 1)
    torch.testing.assert_close(network(batch, torch.zeros(6, 32)), 0.75 * batch + 0.25 * painted)


def test_a_saved_generator_makes_the_same_variants_and_chains_take_it(tmp_path):
    augment, batch = augmentor(DaganConfig(noise=5, width=8, probability=0.6)), images()
    file = tmp_path / "dagan.safetensors"
    augment.write(file)
    again = build_chain(str(file))
    assert isinstance(again, DaganAugmentor)
    assert (again.config, again.digest) == (augment.config, augment.digest)
    assert torch.equal(again(batch, generator=generator(1)), augment(batch, generator=generator(1)))
    chain = build_chain(f"cutout+{file}")
    params = chain.sample(batch, generator(2))
    expected = augment.apply(build_chain("cutout").apply(batch, params[0]), params[1])
    assert torch.equal(chain.apply(batch, params), expected)


def test_files_are_told_apart_by_what_they_hold_and_named_by_it(tmp_path):
    dagan, affine = augmentor(), AffineAugmentor()
    dagan.write(tmp_path / "a.safetensors")
    affine.write(tmp_path / "b.safetensors")
    assert isinstance(build_chain(str(tmp_path / "b.safetensors")), AffineAugmentor)
    moved = shutil.copy(tmp_path / "a.safetensors", tmp_path / "c.safetensors")
    key = chain_key(f"crop+{moved}")
    assert key == chain_key(f"crop+{tmp_path / 'a.safetensors'}") == f"crop+sha256:{dagan.digest}"
    assert chain_key(str(tmp_path / "b.safetensors")) == f"sha256:{affine.digest}"
    assert dagan.digest != augmentor(dataclasses.replace(ALWAYS, probability=0.5)).digest
    before = dagan.digest
    with torch.no_grad():
        dagan.network.out.bias += 1
    assert dagan.digest != before


def test_what_is_no_learned_augmentation_is_refused(tmp_path):
    file = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match=r"cannot read .*x\.safetensors"):
        build_chain(str(file))
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="is not a learned augmentation: its metadata has none of augmentor, cyclegan"):
        build_chain(str(file))
    save_file({"a": torch.zeros(1)}, file, metadata={"dagan": json.dumps({"noise": 3})})
    with pytest.raises(InputError, match=r"cannot read .*x\.safetensors as a learned augmentor of kind 'dagan'"):
        build_chain(str(file))
    with pytest.raises(InputError, match="of kind 'augmentor'"):
        AffineAugmentor.read(file)


class Linear(nn.Module):
    """Scores ``u . images + w . others``, over all pixels."""

    def __init__(self, u, w):
        super().__init__()
        self.u, self.w = u, nn.Parameter(w)

    def forward(self, batch, others):
        return (batch * self.u).flatten(1).sum(dim=1) + (others * self.w).flatten(1).sum(dim=1)


def test_the_penalty_of_a_linear_critic_is_the_square_of_what_its_weight_is_off_one():
    w = torch.zeros(3, 2, 2)
    w[0, 0, 0], w[1, 1, 1] = 3.0, 4.0  # |w| = 5
    critic = Linear(torch.ones(3, 2, 2), w)
    batch = [torch.rand(4, 3, 2, 2, generator=generator(seed)) for seed in range(3)]
    penalty = gradient_penalty(critic, *batch, generator())
    assert penalty.item() == pytest.approx(16.0, rel=1e-6)
    penalty.backward()  # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(critic.w.grad, 2 * 4 * w / 5)


def test_the_penalty_is_taken_between_partner_and_variant_and_the_first_image_has_no_part_in_it():
    def critic(batch, others):  # its gradient by the second image is that image
        return batch.flatten(1).sum(dim=1) * 100 + others.square().flatten(1).sum(dim=1) / 2

    first = torch.rand(5, 3, 2, 2)
    partners, variants = torch.zeros(5, 3, 2, 2), torch.full((5, 3, 2, 2), 1.0)
    share = torch.rand(5, 1, 1, 1, generator=generator(3)).flatten()
    expected = (share * 12**0.5 - 1).square().mean()
    torch.testing.assert_close(gradient_penalty(critic, first, partners, variants, generator(3)), expected)


def test_the_gap_is_what_partners_score_above_variants():
    critic = Linear(torch.ones(3, 2, 2), torch.full((3, 2, 2), 0.5))
    zeros, ones = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    assert critic_gap(critic, ones, ones, zeros).item() == 6.0  # 12 pixels at 0.5


def test_a_trained_critic_tells_pairs_of_a_class_from_others():
    torch.manual_seed(0)
    critic = Critic()
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3, betas=(0.0, 0.9))
    colors = torch.rand(40, 3, 1, 1, generator=generator()).expand(40, 3, 8, 8)
    noise = generator(1)
    for _ in range(40):
        gap = critic_gap(critic, colors, colors, colors.roll(1, dims=0))
        penalty = gradient_penalty(critic, colors, colors, colors.roll(1, dims=0), noise)
        optimizer.zero_grad()
        (10 * penalty - gap).backward()
        optimizer.step()
    assert gap.item() > 0.2


def test_a_partner_is_another_image_of_the_class_each_as_often():
    labels = [2, 0, 1, 0, 2, 0, 2, 2]  # 1 is alone
    pairs = Pairs(source(labels))
    assert len(pairs) == 7
    seen = Counter()
    noise = generator()
    for _ in range(400):
        first, second = pairs.draw(np.arange(7), noise)
        assert first.tolist() == [0, 1, 3, 4, 5, 6, 7]
        assert (first != second).all()
        assert all(labels[a] == labels[b] for a, b in zip(first, second, strict=True))
        seen.update(zip(first.tolist(), second.tolist(), strict=True))
    assert len(seen) == 3 * 2 + 4 * 3
    for (first, _), times in seen.items():
        share = 1 / (2 if labels[first] == 0 else 3)
        assert times / 400 == pytest.approx(share, abs=0.1)


def test_pairs_are_of_the_source_alone_and_bring_the_images_of_both():
    whole = source([0, 0, 0, 1, 1, 1])
    part = Subset(whole.inputs, whole.labels, np.array([5, 0, 3, 2]))
    batch, targets, partners = Pairs(part).take(np.array([0, 1, 2, 3]), generator())
    assert targets.tolist() == [1, 0, 1, 0]
    torch.testing.assert_close(batch, part.take(np.arange(4))[0])
    torch.testing.assert_close(partners, part.take(np.array([2, 3, 0, 1]))[0])


def test_pairs_of_nothing_but_single_images_are_refused():
    with pytest.raises(InputError, match="pairs of images need at least one class with two or more training images"):
        Pairs(source([0, 1, 2]))


def test_spread_is_the_distance_of_images_for_the_distance_of_noise():
    first, second = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.3)
    noise = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    other = torch.tensor([[1.0, 0.0], [1.0, -5.0]])  # at mean distances of 1.5 and 3
    assert mode_seeking(first, second, noise, other).item() == pytest.approx((0.3 / 1.5 + 0.3 / 3) / 2)


def test_the_generator_moves_once_for_several_steps_of_the_critic_and_the_classifier_never():
    game = DaganGame(DaganSettings(critic_steps=3, spread_weight=1.0), classifier())
    labels = torch.tensor([0, 0, 1, 1])
    batch, noise = images(4, 8, 8), generator()
    moved = []
    for _ in range(6):
        before = {name: tensor.clone() for name, tensor in game.state_dict().items()}
        game.step(batch, labels, batch[[1, 0, 3, 2]], noise)
        after = game.state_dict()
        moved.append({name.split(".")[0] for name in after if not torch.equal(after[name], before[name])})
    assert moved == 2 * [{"critic", "steps"}, {"critic", "steps"}, {"critic", "network", "steps"}]


def test_measures_of_known_variants():
    game = DaganGame(DaganSettings(), classifier())
    labels = torch.tensor([0, 0, 1, 2])
    batch = images(4, 8, 8)
    with torch.no_grad():
        game.network.out.weight.zero_()
        game.network.out.bias.copy_(torch.tensor([50.0, 50.0, 50.0, 0.0]))  # half of the way to white
        game.classifier[1].weight.zero_()
        game.classifier[1].bias.copy_(torch.tensor([0.0, 0.0, -80.0]))
        found = measure_variants(game, [(batch, labels)], generator())
        white = batch / 2 + 0.5
        gap = game.critic(batch[:2], batch[[1, 0]]) - game.critic(batch[:2], white[:2])
    assert found == pytest.approx(
        {
            "distance": ((1 - batch) / 2).mean().item(),
            "draw_spread": 0.0,
            "entropy_before": 1.0,
            "entropy_after": 1.0,
            "recognized_before": 0.5,
            "recognized_after": 0.5,
            "critic_gap": gap.mean().item(),
        },
        abs=1e-6,
    )


def learn(file, labels=(0, 1, 2) * 8, **settings):
    settings = {"epochs": 2, "batch_size": 8, "critic_steps": 2, "spread_weight": 0.5, **settings}
    return learn_dagan(
        classifier(),
        source(list(labels)),
        {"validation": source([0, 1, 2, 0])},
        DaganSettings(**settings),
        seed=3,
        checkpoint_file=file,
        fabric=Fabric(accelerator="cpu"),
    )


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
@pytest.mark.parametrize("last", [1, 4, 5])
def test_learning_that_was_interrupted_ends_with_the_same_weights_and_measures(tmp_path, monkeypatch, last):
    whole = learn(tmp_path / "whole.safetensors")
    assert len(whole.epochs) == 3
    assert set(whole.epochs[0]) == {"train", "validation"}

    ends_the_same(learn, whole, DaganGame, tmp_path, monkeypatch, last)


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")
def test_learning_leaves_the_global_random_numbers_alone(tmp_path):
    learn(tmp_path / "a.safetensors", epochs=1)
    expected = torch.get_rng_state()
    classifier()
    assert torch.equal(torch.get_rng_state(), expected)


KNOWN = {"distance": 0.1, "draw_spread": 0.05, "recognized_before": 0.9, "recognized_after": 0.8}


@pytest.mark.parametrize(
    ("measures", "settings", "expected"),
    [
        ({}, {}, {}),
        ({"distance": 0.005, "draw_spread": 0.0}, {}, {"identity": "smaller recognition_weight"}),
        ({"distance": 0.005}, {"recognition_weight": 0.0}, {"identity": "more epochs"}),
        ({"draw_spread": 0.009}, {}, {"one variant": "larger spread_weight"}),
        ({"recognized_after": 0.44}, {}, {"destroyed": "larger recognition_weight"}),
        (
            {"draw_spread": 0.0, "recognized_after": 0.1},
            {},
            {"one variant": "spread_weight", "destroyed": "recognition_weight"},
        ),
    ],
)
def test_collapses_are_named_with_what_helps(measures, settings, expected):
    found = diagnose_dagan({**KNOWN, **measures}, {**dataclasses.asdict(DaganSettings()), **settings})
    assert list(found) == list(expected)
    assert all(help in found[name] for name, help in expected.items())


def test_a_collapse_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match=r"the augmentor collapsed \(one variant\)"):
        learned = learn(tmp_path / "a.safetensors", epochs=1, learning_rate=1e-9)
    assert "one variant" in learned.collapses


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"critic_steps": 0}, "critic_steps must be a whole number between 1 and 1000, got 0"),
        ({"epochs": None}, "epochs must be a whole number between 1 and 100000, got None"),
        ({"epochs": "many"}, "epochs must be a whole number between 1 and 100000, got 'many'"),
        ({"recognition_weight": -1.0}, "recognition_weight must lie between 0 and 1000"),
        ({"penalty_weight": float("nan")}, "penalty_weight must lie between"),
    ],
)
def test_settings_out_of_range_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        DaganSettings(**options)


@pytest.mark.parametrize("options", [{"noise": 0}, {"noise": 2.5}, {"width": 6}, {"width": 0}, {"probability": 1.1}])
def test_configs_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DaganConfig(**options)


def test_the_command_learns_it_in_each_run_and_records_it(afield, photos, tmp_path):
    out = tmp_path / "out"
    arguments = ("--data", photos, "--image-size", 16, "--recipes", "erm", "--epochs", 2, "--seeds", 1, "--out", out)
    options = ("--set", "augment_options.epochs=1", "augment_options.augmentor.width=8")
    code, _, err = afield("compare", *arguments, "--augment", "crop+dagan", *options)
    assert code == 0, err
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        learned = record["learned"]
        assert (learned["kind"], learned["first_epochs"], len(record["epochs"])) == ("dagan", 1, 1)
        assert learned["settings"]["augmentor"] == {"noise": 32, "width": 8, "probability": 0.5}
        assert learned["search_s"] > 0
        assert set(learned["epochs"][1]["validation"]) >= {"distance", "draw_spread", "recognized_after"}
    saved = build_chain(str(next(out.glob("runs/*/augmentor.safetensors"))))
    assert isinstance(saved, DaganAugmentor)

    code, _, err = afield("compare", *arguments, "--augment", "dagan", "--set", "augment_options.critic_step=1")
    assert code == 2
    assert "did you mean 'critic_steps'" in err
