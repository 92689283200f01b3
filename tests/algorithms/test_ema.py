"""The exponential moving average against its rule, written out by hand."""

from __future__ import annotations

import torch

from afield.algorithms import EMA, ERM
from tests.algorithms.stepped import stepped
from tests.classifiers import small_classifier


def test_ema_longhand():
    averaging = EMA(ERM(small_classifier(), [12]), decay=0.3)
    fast = average = averaging.classifier.objective.head.bias.detach().clone()
    for done, found in enumerate(stepped(averaging, 6), start=1):
        fast = fast + 1
        kept = min(0.3, (1 + done) / (10 + done))
        average = kept * average + (1 - kept) * fast
        torch.testing.assert_close(found, average)
    torch.testing.assert_close(averaging.classifier.objective.head.bias.detach(), fast)
