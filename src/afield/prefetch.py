"""Results computed in the background before they are needed, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, depth: int, threads: int = 1
) -> Generator[R, None, None]:
    """``function(item)`` for each item, in their order, as `map` gives them, but computed before they are requested.

    One thread calls the function on one item after the other; several threads work on several items at a time. At
    most ``depth + 1`` results exist in addition to the last one that was yielded.

    Args:
        function: called with each item; its exception is raised in place of its result.
        items: read by the thread that requests results.
        depth: number of results that are computed in advance.
        threads: number of worker threads.

    >>> list(prefetch(abs, [-1, 2, -3], depth=1))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
