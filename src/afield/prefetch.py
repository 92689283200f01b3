"""Computation of results in background threads before they are needed, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, depth: int, threads: int = 1
) -> Generator[R, None, None]:
    """Yield ``function(item)`` for each item in order, like `map`, but compute results before they are requested.

    With one thread, the items are processed one after the other. With several threads, several items are processed at
    the same time. At most ``depth + 1`` results exist in addition to the last one that was yielded.

    Args:
        function: function of an item. If it raises an exception, the exception is raised in place of the result.
        items: items. They are read by the thread that requests results.
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
