"""Options of averages of weights."""

from __future__ import annotations

import pytest

from afield.algorithms import EMA, ERM, Lookahead
from tests.classifiers import small_classifier


@pytest.mark.parametrize(
    ("kind", "options"), [(Lookahead, {"every": 0}), (Lookahead, {"keep": 1.0}), (EMA, {"decay": 1.0})]
)
def test_averagings_refuse_what_has_no_meaning(kind, options):
    with pytest.raises(ValueError, match="must"):
        kind(ERM(small_classifier(), [12]), **options)
