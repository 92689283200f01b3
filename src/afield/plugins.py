"""Parts from installed packages, which name them by entry points. A part is imported when it is first used."""

import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Plugin:
    """A part of an installed package.

    Attributes:
        name: name of the entry point.
        package: name of the package.
        version: version of the package.
        module: name of the module that contains it.
        load: imports the part and returns it.
    """

    name: str
    package: str
    version: str
    module: str
    load: Callable[[], Any]


def plugins(group: str) -> Mapping[str, Plugin]:
    """The parts of all installed packages in an entry-point group, such as ``afield.losses``, by name."""
    return _by_group(tuple(sys.path)).get(group, {})


def package_versions() -> dict[str, str]:
    """The versions of all installed packages that provide parts, used or not, by name."""
    found = _by_group(tuple(sys.path)).values()
    return {plugin.package: plugin.version for group in found for plugin in group.values()}


@lru_cache(maxsize=4)
def _by_group(path: tuple[str, ...]) -> Mapping[str, Mapping[str, Plugin]]:
    """The parts by group and name. Reading the metadata of all packages takes a while, so it is done once a path."""
    found: dict[str, dict[str, Plugin]] = {}
    points = importlib.metadata.entry_points()
    for group in points.groups:
        for point in points.select(group=group) if group.startswith("afield.") else ():
            if point.dist is not None:
                plugin = Plugin(point.name, point.dist.name, point.dist.version, point.module, point.load)
                found.setdefault(group, {}).setdefault(point.name, plugin)
    return found
