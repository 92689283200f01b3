"""A bounded part of the random attacks of `tests.fuzz.attacks`, with fixed seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.attacks import KINDS, Attacks, attacked

COUNTS = {"image": 400, "model": 60, "run": 12, "cache": 60, "command": 15, "tensor": 600}


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Attacks:
    return Attacks(tmp_path_factory.mktemp("attacked"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_attack_is_answered_or_refused(attacks: Attacks, tmp_path: Path, kind: str) -> None:
    assert attacked(attacks, kind, range(COUNTS[kind])) == {}
