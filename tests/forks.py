"""Processes that are forked where that is safe, so that they do not import PyTorch again."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess


def start(target: Callable[..., object], *args: object) -> BaseProcess:
    """Start a function in a process, which never collects the garbage of this one.

    A fork has no other threads than the one that forked. A session of ONNX Runtime that this process has left behind
    would wait for its threads there, forever.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    process = context.Process(target=target, args=args)
    gc.freeze()
    try:
        process.start()
    finally:
        gc.unfreeze()
    return process
