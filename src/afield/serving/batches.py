"""Images of concurrent requests, joined in batches."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps images ``[N, H, W, 3]`` to probabilities ``[N, K]``."""


class Batcher:
    """Joins images that wait at the same time in one batch. An image never waits for others to come.

    Args:
        classify: classifies a batch, in a thread; one batch at a time.
        size: largest number of images in a batch.
        on_batch: called with the number of images of each batch.
    """

    def __init__(self, classify: Classify, size: int, on_batch: Callable[[int], None] = lambda images: None) -> None:
        self.classify, self.size, self.on_batch = classify, size, on_batch
        self._waiting: deque[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.float32]]]] = deque()
        self._some = asyncio.Event()

    async def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The probabilities ``[N, K]`` of images of one request, each ``[H, W, 3]``."""
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in images]
        self._waiting.extend(zip(images, answers, strict=True))
        self._some.set()
        return np.stack(await asyncio.gather(*answers))

    async def run(self) -> None:
        """Classify batches until the task is canceled."""
        with ThreadPoolExecutor(1, thread_name_prefix="classify") as thread:
            while True:
                await self._some.wait()
                batch = [self._waiting.popleft() for _ in range(min(self.size, len(self._waiting)))]
                if not self._waiting:
                    self._some.clear()
                if wanted := [(image, answer) for image, answer in batch if not answer.cancelled()]:
                    await self._answer(wanted, thread)

    async def _answer(
        self, batch: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.float32]]]], thread: ThreadPoolExecutor
    ) -> None:
        self.on_batch(len(batch))
        images = np.stack([image for image, _ in batch])
        try:
            rows = await asyncio.get_running_loop().run_in_executor(thread, self.classify, images)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for row, (_, answer) in zip(rows, batch, strict=True):
            if not answer.done():
                answer.set_result(row)
