"""Figures of the report."""

import re

import pytest

from afield.evaluation import estimate
from afield.reporting.plots import curves_with_intervals


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("erm", "swad", "irm", "vrex"), 2),
        (("erm", "flattening+standardize+t3a", "erm+standardize+t3a", "miro+swad+flattening"), 1),
    ],
)
def test_a_legend_with_long_names_has_one_column(names, columns):
    series = {name: {10.0: estimate([0.5, 0.6, 0.7]), 20.0: estimate([0.6, 0.7, 0.8])} for name in names}
    text = curves_with_intervals("key", "label", series, x="images", y="accuracy")
    starts = {re.search(rf'x="([\d.]+)"[^>]*>{re.escape(name)}<', text).group(1) for name in names}
    assert len(starts) == columns
