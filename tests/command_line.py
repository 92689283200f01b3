"""What tests of the command line share: a comparison that takes seconds, and what a refused command prints."""

from __future__ import annotations

FAST = ("--epochs", 2, "--seeds", 1, "--recipes", "erm", "arcface")


def refused(afield, *arguments: object) -> str:
    """The single line that a refused command prints; nothing was trained."""
    code, out, err = afield(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("afield: ")]
    assert code == 2, (code, out, err)
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]
