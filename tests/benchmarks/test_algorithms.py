"""The cost table of the algorithms has each of them."""

from __future__ import annotations

import json

from afield.algorithms import ALGORITHMS, AVERAGINGS
from tests.benchmarks.script import run


def test_algorithms_ends_with_a_line_of_json_that_holds_the_ratio_of_each():
    result = json.loads(run("algorithms.py", "--quick").splitlines()[-1])
    assert set(result["time_over_erm"]) == {*ALGORITHMS.names, *AVERAGINGS.names}
    assert result["time_over_erm"]["erm"] == 1
