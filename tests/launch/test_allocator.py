"""The allocator keeps the memory of freed tensors."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from afield.launch.allocator import keep_freed_memory

print(keep_freed_memory())
torch.ones(25_000_000).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(25_000_000).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Prints the page faults of ten tensors of 100 MB, one after another."""
PAGES = 25_000_000 * 4 // 4096
"""The page faults of a tensor that is requested from the system."""


def changed_and_faults(**environment: str) -> tuple[bool, int]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=kept | environment, capture_output=True, text=True, check=True
    )
    changed, faults = done.stdout.split()
    return changed == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is that of glibc")
def test_later_tensors_use_the_memory_of_freed_ones():
    changed, faults = changed_and_faults()
    assert changed
    assert faults < 3 * PAGES  # of ten


def test_settings_of_the_environment_are_left_alone():
    assert not changed_and_faults(MALLOC_ARENA_MAX="4")[0]


def test_other_c_libraries_are_left_alone(monkeypatch):
    from afield.launch import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not allocator.keep_freed_memory()
