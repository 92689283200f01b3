"""What a run prepares before it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from afield.data import Validation
from afield.models import BackboneConfig, patch_covariance
from afield.recipes import RECIPES, Recipe
from afield.runs.build import build_classifier, build_head_classifier
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.run import Run, prepare


def setup_of(data, backbone: BackboneConfig) -> ExperimentConfig:
    return ExperimentConfig(
        data, backbone, False, Validation(), choose_training("fast_cifar", epochs=1, augment="translate")
    )


def test_a_run_shows_training_images_to_the_backbone_and_the_seed_decides_which(digits, tmp_path):
    setup, fabric = setup_of(digits, BackboneConfig("whitened_vgg_narrow")), Fabric(accelerator="cpu", devices=1)
    first, again, other = (
        prepare(Run(setup, RECIPES["fast_cifar"], ("wall",), seed), None, fabric) for seed in (0, 0, 1)
    )
    filters = [found[2].backbone.whiten.weight for found in (first, again, other)]
    assert torch.equal(filters[0], filters[1])
    assert not torch.equal(filters[0], filters[2])
    parts = first[1]
    seen = parts.train.take(np.arange(len(parts.train)))[0] * 2 - 1
    found = F.conv2d(seen, filters[0][:12]).permute(1, 0, 2, 3).flatten(1)
    variances = (found.square().mean(1)).double()
    expected = torch.linalg.eigvalsh(patch_covariance(seen, 2)).flip(0)
    torch.testing.assert_close(variances, expected / (expected + 5e-4), atol=1e-3, rtol=0)
    weights = tmp_path / "weights.pth"
    torch.save(other[2].backbone.state_dict(), weights)
    given = setup_of(digits, BackboneConfig("whitened_vgg_narrow", weights=str(weights)))
    _, _, kept = prepare(Run(given, RECIPES["fast_cifar"], ("wall",), 0), None, fabric)
    assert torch.equal(kept.backbone.whiten.weight, filters[2])


@pytest.mark.parametrize("frozen", [False, True])
def test_recipes_of_any_name_begin_with_the_same_weights_and_seeds_with_others(digits, frozen):
    """Differences between recipes are paired by seed, which rests on that."""
    setup = setup_of(digits, BackboneConfig("resnet8"))

    def weights(name: str, seed: int) -> torch.Tensor:
        recipe = Recipe(name, head="arcface")
        built = build_head_classifier(setup, recipe, seed, 64) if frozen else build_classifier(setup, recipe, seed)
        return torch.cat([parameter.detach().flatten() for parameter in built.parameters()])

    assert torch.equal(weights("a", 0), weights("b", 0))
    assert not torch.equal(weights("a", 0), weights("a", 1))
