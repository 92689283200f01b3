"""Work done in the background, ahead of its use and in order."""

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
    """``function(item)`` for each item, in their order, as `map` gives them, but computed before they are asked for.

    One thread calls the function on one item after the other; several call it on several at a time. At most
    ``depth + 1`` results exist beside the one that was handed out last.

    Args:
        function: what is done to each item; an exception of it comes out where its result would have.
        items: what to do; read by the thread that asks for results.
        depth: how many results are made before they are asked for.
        threads: how many work.

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
