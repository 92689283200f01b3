"""One kill of each kind of `tests.fuzz.kills`."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.kills import KINDS, Kills, counts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands run in forked processes")


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Kills:
    return Kills(tmp_path_factory.mktemp("killed"))


@pytest.mark.filterwarnings("ignore:the augmentor collapsed")  # a short training on noise
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_command_gives_the_same_result_when_it_is_run_again(kills: Kills, kind: str) -> None:
    assert counts(kills, kind, range(100, 102)) == {"tried": 2, "killed": 2, "same": 2}
