"""Features of a frozen backbone: those of the network, cached by their computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from afield.data import Validation, load
from afield.data.cache import cache_root
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.runs import features
from afield.runs.config import ExperimentConfig
from afield.training import PRESETS


def test_features_are_those_of_the_network_and_each_precision_has_its_own_cache(photos):
    data, backbone, fabric = load(str(photos), image_size=16), BackboneConfig("resnet8"), make_fabric("cpu", "32")
    setup = ExperimentConfig(data, backbone, True, Validation(), PRESETS["frozen"])
    short = dataclasses.replace(setup, training=dataclasses.replace(setup.training, precision="bf16"))
    assert features.missing_features(setup, fabric) == features.missing_features(short, fabric) == len(data)
    exact, inexact = (features.stored_features(each, fabric) for each in (setup, short))
    network, _ = features.frozen_backbone(backbone)
    images = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network.eval()((images / 255 - 0.5) / 0.5).numpy()
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-4)
    assert 1e-4 < np.abs(inexact - exact).max() < 0.05 * np.abs(exact).max()
    assert len([*cache_root().rglob("features.npy")]) == 2
    assert features.missing_features(setup, fabric) == features.missing_features(short, fabric) == 0
