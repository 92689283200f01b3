"""Lightning Fabric, which is always imported from here, because this import is faster.

Lightning Fabric imports torchmetrics, if it is installed, only to compare its version. This imports all of
transformers and torchvision, which takes seconds in each process. During the import, a module that has nothing but the
version of torchmetrics takes its place.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType


@contextmanager
def _version_only(package: str) -> Iterator[None]:
    """Let a package that is installed and not imported have nothing but its version during a ``with`` block."""
    if package in sys.modules:
        yield
        return
    with suppress(importlib.metadata.PackageNotFoundError):
        module = ModuleType(package)
        module.__version__ = importlib.metadata.version(package)  # type: ignore[attr-defined]
        sys.modules[package] = module
    try:
        yield
    finally:
        sys.modules.pop(package, None)


with _version_only("torchmetrics"):
    from lightning_fabric import Fabric as Fabric
    from lightning_fabric.loggers.csv_logs import CSVLogger as CSVLogger
    from lightning_fabric.loggers.logger import Logger as Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger as TensorBoardLogger
