"""Test-time augmentation: the mean of the logits of several views."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import afield as package
from afield.deploy.tta import mean_logits, views
from tests.images import batch_of_bytes


def test_logits_with_views_are_the_weighted_mean_of_those_of_each_view():
    images = batch_of_bytes().permute(0, 2, 3, 1).numpy()
    torch.manual_seed(0)
    weight = torch.randn(9 * 9 * 3, 4, dtype=torch.float64)

    def logits(pixels):
        return torch.from_numpy(np.ascontiguousarray(pixels)).flatten(1).double() @ weight

    both = (logits(images) + logits(images[:, :, ::-1])) / 2
    torch.testing.assert_close(mean_logits(logits, images, "mirror"), both)
    padded = F.pad(torch.from_numpy(images).permute(0, 3, 1, 2).double(), (1,) * 4, mode="reflect")
    shifted = [padded[:, :, :9, :9], padded[:, :, 2:, 2:]]
    moved = sum(logits(view.permute(0, 2, 3, 1).numpy()) for s in shifted for view in (s, s.flip(-1))) / 4
    torch.testing.assert_close(mean_logits(logits, images, "mirror_translate"), (both + moved) / 2)
    assert sum(weight for weight, _ in views(images, "mirror_translate")) == 1


def test_evaluate_reports_views_apart(afield: Callable[..., tuple[int, str, str]], digits_model, digits):
    plain = json.loads(afield("evaluate", digits_model, "--data", "digits", "--json")[1])
    found = json.loads(afield("evaluate", digits_model, "--data", "digits", "--json", "--tta", "mirror_translate")[1])
    tta = found.pop("tta")
    assert found == plain
    assert tta["kind"] == "mirror_translate"
    logits = mean_logits(package.load(digits_model).logits, digits.images, "mirror_translate")
    assert tta["all"]["accuracy"] == pytest.approx((logits.argmax(1).numpy() == digits.labels).mean())
    assert tta["domains"].keys() == plain["domains"].keys()
    code, out, _ = afield("evaluate", digits_model, "--data", "digits", "--tta", "mirror")
    assert code == 0
    assert "accuracy, tta mirror, %" in " ".join(out.split())
