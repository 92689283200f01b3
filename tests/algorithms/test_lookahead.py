"""Lookahead against its rule, written out by hand."""

from __future__ import annotations

import torch

from afield.algorithms import ERM, Lookahead
from tests.algorithms.stepped import stepped
from tests.classifiers import small_classifier


def test_lookahead_longhand():
    averaging = Lookahead(ERM(small_classifier(), [12]), every=2, keep=0.9)
    fast = slow = averaging.classifier.objective.head.bias.detach().clone()
    for done, found in enumerate(stepped(averaging, 6), start=1):
        fast = fast + 1
        if done % 2 == 0:
            kept = 0.9**2 * (done / 6) ** 3
            slow = fast = kept * slow + (1 - kept) * fast
        torch.testing.assert_close(found, slow)
    torch.testing.assert_close(averaging.classifier.objective.head.bias.detach(), fast)
