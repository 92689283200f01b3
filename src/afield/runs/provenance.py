"""Provenance of a record: versions, hardware and commit."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from afield.plugins import package_versions

PACKAGES = ("afield", "torch", "torchvision", "timm", "lightning-fabric", "optuna", "numpy", "scikit-learn", "pillow")


def provenance() -> dict[str, Any]:
    """Package versions, hardware, and the commit if afield is a source checkout (otherwise None).

    The versions include those of all packages that provide parts (`afield.plugins`), so that they do not depend on what
    the process did before.
    """
    return {
        "versions": {**_versions(), **package_versions()},
        "hardware": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "commit": _commit(),
    }


@functools.cache
def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that contains this file, with ``+`` if tracked files are modified."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        head = git("rev-parse", "--short=12", "HEAD").strip()
        return head + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", ":/src").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None
