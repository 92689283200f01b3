"""The settings of an experiment: what a data set changes in a preset."""

from __future__ import annotations

import dataclasses

from afield.runs.config import keep_class
from afield.training import PRESETS


def test_classes_that_a_mirror_would_change_are_not_mirrored(digits):
    assert keep_class(PRESETS["fast_cifar"], digits).augment == "translate+none"
    assert keep_class(PRESETS["flattening_paper"], digits).augment == "crop"
    assert keep_class(PRESETS["fast_cifar"], dataclasses.replace(digits, flippable=True)).augment.endswith("flip")
