"""Each training setting is defined once: option, range, help and documentation come from its definition."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest
import torch
from torch import nn

from afield.commands import Compare
from afield.errors import InputError
from afield.heads import LinearHead
from afield.objective import Objective
from afield.recipes import RECIPES, recipe_from, resolve
from afield.runs.config import choose_training
from afield.settings import PRESETS, TrainConfig
from afield.training.checkpoint import load_optimizer, optimizer_tensors
from afield.training.optimizer import build_optimizer
from afield.validation import settings_of

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
SETTINGS = settings_of(TrainConfig)
OTHER = {
    "epochs": 3,
    "batch_size": 32,
    "accumulate": 2,
    "optimizer": "lamb",
    "learning_rate": 0.5,
    "norm_bias_rate": 2.0,
    "layer_decay": 0.5,
    "batch_norm": "fixed",
    "momentum": 0.5,
    "weight_decay": 0.25,
    "schedule": "linear",
    "warmup": 0.25,
    "step_at": 0.5,
    "step_factor": 0.5,
    "dropout": 0.125,
    "clip_grad": 2.5,
    "patience": 4,
    "augment": "crop_flip",
    "sampling": "balanced",
    "class_weights": "cat=2,dog=0.5",
    "class_weights_beta": 0.99,
    "class_weights_from": 0.75,
    "class_adjustment": 1.5,
    "precision": "bf16",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_an_option_a_range_a_help_text_and_a_row_in_the_guide(name, afield):
    definition = SETTINGS[name]
    assert definition.help.endswith(".")
    assert definition.choices or definition.values or definition.low < definition.high
    option = f"--{name.replace('_', '-')}"
    row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{option}` |"))
    assert definition.help in row
    code, out, _ = afield("compare", "--help")
    assert code == 0
    assert option in out
    assert Compare.__dataclass_fields__[name].default is None
    value = getattr(Compare(**{name: OTHER[name]}), name)
    assert getattr(choose_training("scratch", **{name: value}), name) == OTHER[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_recipe_takes_a_setting_for_itself(name):
    value = OTHER[name]
    if name == "precision":
        with pytest.raises(InputError, match="all runs share the precision"):
            resolve(["irm"], [f"irm.{name}={value}"])
        return
    irm, erm = resolve(["irm", "erm"], [f"irm.{name}={value}"])
    assert erm == RECIPES["erm"]
    if name == "augment":
        assert irm.augment == value
        return
    assert irm.train_config(PRESETS["digits"]) == dataclasses.replace(PRESETS["digits"], **{name: value})
    assert irm.config()["training"] == {name: value}
    assert recipe_from({"name": "irm", "algorithm": "irm", name: value}, "file") == irm
    (again,) = resolve(["irm"], [f"{name}={value}", f"{name}=null"])
    assert again == RECIPES["irm"]


@pytest.mark.parametrize("name", [name for name, each in SETTINGS.items() if not each.values])
def test_a_value_out_of_range_is_refused_in_settings_and_recipes_alike(name):
    definition = SETTINGS[name]
    for wrong in ("zigzag", True, float("nan"), None) if definition.choices else (definition.high + 1, "1", True, None):
        with pytest.raises(InputError, match=f"^{name} must "):
            TrainConfig(**{name: wrong})
        with pytest.raises(InputError, match=f"{name} must |share the precision"):
            dataclasses.replace(RECIPES["irm"], training={name: wrong})


def test_the_default_and_the_type_of_a_setting_agree():
    for field in dataclasses.fields(TrainConfig):
        kind = SETTINGS[field.name].kind
        assert field.default in typing.get_args(kind) or type(field.default) is kind


class _Algorithm(nn.Module):
    def __init__(self):
        super().__init__()
        self.objective = Objective(LinearHead(6, 3), {"cross_entropy": 1.0})

    def step(self, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(9, 6, generator=generator)
        self.objective(features, torch.arange(9) % 3).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "lion", "adan", "adabelief", "novograd", "laprop", "muon"])
def test_an_optimizer_continues_from_its_checkpoint_as_if_it_had_not_stopped(name):
    """Some of timm's count steps in the state of a parameter as numbers, others in their groups."""
    training = TrainConfig(optimizer=name, learning_rate=0.01)
    torch.manual_seed(0)
    whole = _Algorithm()
    optimizer = build_optimizer(whole, training)
    for seed in range(3):
        whole.step(optimizer, seed)
    stopped = _Algorithm()
    stopped.load_state_dict(whole.state_dict())
    continued = build_optimizer(stopped, training)
    load_optimizer(continued, {key: tensor.clone() for key, tensor in optimizer_tensors(optimizer).items()})
    for seed in range(3, 6):
        whole.step(optimizer, seed)
        stopped.step(continued, seed)
    for expected, got in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(expected, got)
