from pathlib import Path

import pytest

pytest.importorskip("mutmut", reason="mutmut is not installed")

from tests.mutation.mutants import mutants

SOURCE = '''"""Docstring."""
LIMIT = 3
Name = list[int]

@register("half", reference="A Book, 1999")
def half(value: float, *, twice: bool = False) -> float:
    """Docstring."""
    if twice:
        raise ValueError(f"not {2 * value}")
    check(value)
    return round(value / 2, ndigits=1)
'''
CHANGES = {
    ("", "LIMIT = 3 -> LIMIT = None"),
    ("", "3 -> 4"),
    ("half", '"half" -> "XXhalfXX"'),
    ("half", 'register("half", reference="A Book, 1999") -> register("half", )'),
    ("half", "False -> True"),
    ("half", "if twice -> if not (twice)"),
    ("half", 'raise ValueError(f"not {2 * value}") -> pass'),
    ("half", "check(value) -> pass"),
    ("half", "return round(value / 2, ndigits=1) -> return None"),
    ("half", "round(value / 2, ndigits=1) -> round(value / 2, )"),
    ("half", "value / 2 -> value * 2"),
    ("half", "2 -> 3"),
    ("half", "1 -> 2"),
}


def test_a_change_is_made_of_code_and_not_of_text(tmp_path: Path):
    (tmp_path / "half.py").write_text(SOURCE)
    found = list(mutants(tmp_path, "half.py"))
    assert {mutant.name for mutant in found} == {f"half.py {scope}: {change} #1" for scope, change in CHANGES}
    for mutant in found:
        compile(mutant.source, "half.py", "exec")
        assert mutant.source != SOURCE
    lines = {mutant.name.partition(": ")[2]: mutant.lines for mutant in found}
    assert lines["if twice -> if not (twice) #1"] == (8, 8)
    assert lines["value / 2 -> value * 2 #1"] == (11, 11)
